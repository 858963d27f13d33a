package packet

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// Bytes of memory for frames that wait in the kernel, each way. Those that are read have to last for
// as long as a loop may be held up.
const (
	receiveMemory = 8 << 20
	sendMemory    = 1 << 20
)

// Open opens two packet sockets at an interface for each queue that there is to be: one that receives, and one in reserve, see
// wire. The interface is promiscuous from then on until they are closed. Each queue has the frames of some flows, see share.
func Open(name string, queues int) (files []*os.File, err error) {
	if err := netdev.CheckName(name); err != nil {
		return nil, err
	}
	for i := range 2 * queues {
		f, err := openSocket(name, i/2, queues, i%2 == 1)
		if err != nil {
			for _, open := range files {
				open.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// openSocket opens one of the sockets. That in reserve receives nothing.
func openSocket(name string, i, queues int, reserve bool) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("interface %s: a packet socket takes CAP_NET_RAW: run as root", name)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: packet socket: %w: use a kernel with CONFIG_PACKET", name, err)
	}
	err = open(fd, name, i, queues)
	if err == nil && !reserve {
		err = bind(fd, name)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "packet:"+name), nil
}

func open(fd int, name string, i, queues int) error {
	if _, _, err := netdev.Ethernet(fd, name); err != nil {
		return err
	}
	for _, o := range []struct {
		force, option, bytes int
	}{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receiveMemory}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendMemory}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, o.bytes) != nil { // takes CAP_NET_ADMIN
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.option, o.bytes) // as much as is allowed
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fmt.Errorf("interface %s: keep out what the machine itself sends: %w: use Linux 4.20 or later", name, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("interface %s: ask for VLAN tags: %w", name, err)
	}
	if queues > 1 {
		if err := share(fd, i, queues); err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
	}
	return nil
}

// bind makes a socket one for an interface, which becomes promiscuous, and hears all groups: for a Wi-Fi
// card the one does not imply the other.
func bind(fd int, name string) error {
	r := netdev.Named(name)
	if err := r.Ask(fd, unix.SIOCGIFINDEX); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	index := int(r.Int())
	// Before the first frame can come.
	for _, kind := range []uint16{unix.PACKET_MR_PROMISC, unix.PACKET_MR_ALLMULTI} {
		m := unix.PacketMreq{Ifindex: int32(index), Type: kind}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("interface %s: make it promiscuous: %w", name, err)
		}
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in the order of the network
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("interface %s: bind a packet socket: %w", name, err)
	}
	return nil
}
