package pktgen

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// batch is how many frames one system call takes.
const batch = 64

// Bytes of memory for frames that wait in the kernel, each way: a second of small ones is no loss.
const (
	receiveMemory = 64 << 20
	sendMemory    = 1 << 20
)

// open opens a packet socket at an interface, which does not see what the machine itself sends there.
func open(name string) (fd int, link *net.Interface, err error) {
	if link, err = net.InterfaceByName(name); err != nil {
		return -1, nil, fmt.Errorf("interface %s: %w: ip link shows those that exist", name, err)
	}
	if link.Flags&net.FlagUp == 0 {
		return -1, nil, fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return -1, nil, fmt.Errorf("interface %s: a packet socket takes CAP_NET_RAW: run as root", name)
	}
	if err != nil {
		return -1, nil, fmt.Errorf("interface %s: packet socket: %w: use a kernel with CONFIG_PACKET", name, err)
	}
	return fd, link, nil
}

// bind makes it one for an interface and, if it shall receive, all of its frames.
func bind(fd int, link *net.Interface, protocol uint16) error {
	order := protocol<<8 | protocol>>8 // of the network
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: link.Index}); err != nil {
		return fmt.Errorf("interface %s: bind a packet socket: %w", link.Name, err)
	}
	return nil
}

// enlarge sets a socket's memory, or as much of it as is allowed.
func enlarge(fd, force, option, bytes int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) != nil { // takes CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes)
	}
}
