package channel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// Listener waits for connections at a place. To accept and to close are safe for concurrent use.
type Listener struct {
	file    *os.File
	address Address
	once    sync.Once
	closed  error
}

// backlog is how many connections wait to be accepted. Few, as whoever comes next waits for all of them.
const backlog = 16

// Listen opens a socket at an address that is not a virtio-serial port. One in the file system is for its owner alone
// (mode 0600), and replaces one that no one has open any more. Errors do not name the address, which the caller knows.
func (a Address) Listen() (l *Listener, err error) {
	l = &Listener{address: a}
	if a.Kind == UNIX {
		l.file, err = vhostuser.ListenFile(a.Path, backlog)
	} else {
		l.file, err = a.listenAtPort()
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// newSocket is replaced by tests.
var newSocket = unix.Socket

// listenAtPort opens a socket of vsock or TCP. All addresses are those of IPv4 where there are no others.
func (a Address) listenAtPort() (*os.File, error) {
	family, address := a.sockaddr()
	fd, err := newSocket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && a.TCP.Addr() == netip.IPv6Unspecified() {
		a.TCP = netip.AddrPortFrom(netip.IPv4Unspecified(), a.TCP.Port())
		return a.listenAtPort()
	}
	if err != nil {
		return nil, a.explain(err)
	}
	f := os.NewFile(uintptr(fd), a.String())
	if a.Kind == TCP {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return nil, errors.Join(a.explain(err), f.Close())
	}
	return f, nil
}

// explain says what can be done about an error of opening a socket of vsock or TCP.
func (a Address) explain(err error) error {
	hint := ""
	switch {
	case a.Kind == VSock && errors.Is(err, unix.EAFNOSUPPORT):
		hint = " (the kernel has no vsock: load its driver, --modules vmw_vsock_virtio_transport, and give the machine the device, QEMU's vhost-vsock-pci)"
	case a.Kind == TCP && errors.Is(err, unix.EAFNOSUPPORT):
		hint = " (this machine has no such addresses, or a unit's RestrictAddressFamilies= keeps them from the program)"
	case errors.Is(err, unix.EADDRINUSE):
		hint = " (another process listens there: choose another port)"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		hint = " (no interface of this machine has that address)"
	}
	return fmt.Errorf("cannot listen: %w%s", err, hint)
}

// Inherit takes over a listener of which another process, or this one before, has made the file.
func Inherit(f *os.File, a Address) *Listener { return &Listener{file: f, address: a} }

// File is the listener's, which keeps it.
func (l *Listener) File() *os.File { return l.file }

// Address is where it listens: at TCP port 0 the kernel has chosen another.
func (l *Listener) Address() Address {
	raw, err := l.file.SyscallConn()
	if l.address.Kind != TCP || l.address.TCP.Port() != 0 || err != nil {
		return l.address
	}
	at := l.address
	_ = raw.Control(func(fd uintptr) {
		switch name, _ := unix.Getsockname(int(fd)); name := name.(type) {
		case *unix.SockaddrInet4:
			at.TCP = netip.AddrPortFrom(at.TCP.Addr(), uint16(name.Port))
		case *unix.SockaddrInet6:
			at.TCP = netip.AddrPortFrom(at.TCP.Addr(), uint16(name.Port))
		}
	})
	return at
}

// short is a pause when there are no descriptors or no memory for a connection.
const short = 100 * time.Millisecond

// welcome reports whether a peer is let in. At a port of vsock those are processes of the host and of this machine: where the host lets
// virtual machines reach each other, another one could connect as well.
func welcome(peer unix.Sockaddr) bool {
	vm, is := peer.(*unix.SockaddrVM)
	return !is || vm.CID == unix.VMADDR_CID_HOST || vm.CID == unix.VMADDR_CID_LOCAL
}

// Accept waits for a connection of someone who is welcome. It fails when the listener is closed.
func (l *Listener) Accept() (*os.File, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		fd, peer, failure := -1, unix.Sockaddr(nil), error(nil)
		err := raw.Read(func(s uintptr) bool {
			fd, peer, failure = unix.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return nil, err
		case failure == nil && !welcome(peer):
			_ = unix.Close(fd)
		case failure == nil:
			return os.NewFile(uintptr(fd), l.address.String()), nil
		case errors.Is(failure, unix.EINTR), errors.Is(failure, unix.ECONNABORTED):
		default:
			time.Sleep(short)
		}
	}
}

// Close ends the listener, and removes its socket from the file system, once: what is there later is someone else's. It
// does not wait for files that those have sent whom no one has let in.
func (l *Listener) Close() error {
	l.once.Do(func() {
		if l.address.Kind == UNIX {
			if l.closed = unix.Unlink(l.address.Path); errors.Is(l.closed, fs.ErrNotExist) {
				l.closed = nil
			}
		}
		l.closed = errors.Join(l.closed, new(peerfd.Bin).Close(l.file))
	})
	return l.closed
}
