package peerfd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a net.UnixConn, a net.UnixListener, or an os.File of a socket.
type Socket interface {
	SyscallConn() (syscall.RawConn, error)
	Close() error
}

// Close closes a socket to which peers send, and from which no one reads, see Receiver.Close. It does not wait:
// files that are on their way in messages that no one has read are closed with the socket, as slowly as their
// other owner likes, and for that there is a goroutine. Other sides see the end at once.
func (b *Bin) Close(s Socket) error { return b.close(s, false) }

// Close closes the connection, in which files may be on their way as for Bin.Close. It does not wait for a Receive
// either, which may be in a system call that does not return: see Receiver.
func (r *Receiver) Close(b *Bin) error {
	if !r.receiving.TryLock() {
		return b.close(r.conn, true)
	}
	defer r.receiving.Unlock()
	return b.close(r.conn, false)
}

// close closes a socket. If someone may be reading from it, it is the run-time's Close that waits for that.
func (b *Bin) close(s Socket, read bool) error {
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
	}) != nil {
		return s.Close() // of one that is closed already, it says so
	}
	if read || err != nil { // or short of descriptors
		b.later(1, func() {
			s.Close()
			unix.Close(last)
		})
		return nil
	}
	err = s.Close()
	if !empty {
		b.later(1, func() { unix.Close(last) })
	}
	return err
}
