package peerfd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a net.UnixConn or a net.UnixListener.
type Socket interface {
	SyscallConn() (syscall.RawConn, error)
	Close() error
}

// Close closes a socket to which peers send. It does not wait, and neither does whoever
// reads from the socket at that moment: files that are on their way in messages that
// no one has read are closed with the socket, as slowly as their other owner likes, and
// for that there is a goroutine. Other sides see the end at once.
func (b *Bin) Close(s Socket) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return s.Close()
	}
	last := -1 // keeps the socket's files from being closed by s.Close, or by who reads
	var empty bool
	if raw.Control(func(fd uintptr) {
		_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // nothing more can be sent; of one that is not connected it fails
		unread, e := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		if empty = e == nil && unread == 0; !empty {
			last, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		}
	}) != nil || empty {
		return s.Close() // of one that is closed already, it says so
	}
	if err != nil { // short of descriptors
		b.later(func() { s.Close() })
		return nil
	}
	err = s.Close()
	b.later(func() { unix.Close(last) })
	return err
}
