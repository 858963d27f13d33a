package peerfd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Send writes all of b to a stream or packet socket, with descriptors as ancillary data of
// its first byte. They stay the caller's and may be closed once Send returns. After an
// error a part of b may have been sent.
func Send(conn *net.UnixConn, b []byte, fds ...int) error {
	n := 0
	if len(fds) > 0 {
		var err error
		if n, _, err = conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil); err != nil || n == len(b) {
			return err
		}
	}
	_, err := conn.Write(b[n:])
	return err
}

// maxRights is how many descriptors come with one sendmsg at most: the kernel's SCM_MAX_FD.
const maxRights = 253

// Receiver reads from a socket, with the descriptors that come along. One goroutine at a time receives; any may
// close.
//
// What the kernel cannot hand over it closes itself, before the system call returns, and that takes as long as the
// file's other owner likes (see Bin). So there is room for all that can come, and a plain read is none for sockets of
// peers. But descriptors can be had only as long as the process may open more. Hence Close does not wait for
// Receive; who calls Receive and must not wait either has Await.
type Receiver struct {
	conn      Socket
	limit     int
	oob       []byte
	receiving sync.Mutex // held by Receive, and never waited for by Close
}

// NewReceiver makes a Receiver that takes at most limit descriptors at once.
func NewReceiver(conn Socket, limit int) *Receiver {
	return &Receiver{conn: conn, limit: limit, oob: make([]byte, unix.CmsgSpace(maxRights*4))}
}

// Receive reads once: a packet, or what a stream has by now, up to the length of b. The
// descriptors, close-on-exec, are the caller's also when it fails. The error is io.EOF when
// the peer has closed the connection.
func (r *Receiver) Receive(b []byte) (n int, fds []int, err error) {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	n, oobn, flags, err := r.receive(b)
	fds, malformed := parseRights(r.oob[:oobn])
	switch {
	case err == nil && n == 0:
		err = io.EOF
	case err != nil:
	case len(fds) > r.limit:
		err = r.tooMany(fds)
	case flags&unix.MSG_CTRUNC != 0:
		err = errors.New("message carries more file descriptors than this process may open")
	default:
		err = malformed
	}
	return n, fds, err
}

func (r *Receiver) tooMany(fds []int) error {
	return fmt.Errorf("message carries %d file descriptors, the limit is %d", len(fds), r.limit)
}

// receive is recvmsg.
func (r *Receiver) receive(b []byte) (n, oobn, flags int, err error) {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return 0, 0, 0, err
	}
	failed := raw.Read(func(fd uintptr) bool {
		for {
			if n, oobn, flags, _, err = unix.Recvmsg(int(fd), b, r.oob, unix.MSG_CMSG_CLOEXEC); err != unix.EINTR {
				break
			}
		}
		if err == nil {
			received(fd)
		}
		return err != unix.EAGAIN
	})
	switch {
	case failed != nil: // closed, or out of time
		return 0, 0, 0, failed
	case err != nil:
		return 0, 0, 0, os.NewSyscallError("recvmsg", err)
	}
	return n, oobn, flags, nil
}

// Fill fills b from a stream and returns the descriptors that came with it, which are the
// caller's also when it fails. It calls begun, unless nil, each time that a part of b has
// come and the rest has not. The error is io.EOF when the peer closed the connection before
// the first byte, and io.ErrUnexpectedEOF when it did so after that.
//
// It never reads more than b: descriptors belong to the message whose first bytes they came
// with, and a longer read could run into the next message and take its descriptors for this
// one's.
func (r *Receiver) Fill(b []byte, begun func()) (fds []int, err error) {
	for done := 0; done < len(b); {
		n, more, err := r.Receive(b[done:])
		fds = append(fds, more...)
		switch {
		case errors.Is(err, io.EOF) && done > 0:
			return fds, io.ErrUnexpectedEOF
		case err != nil:
			return fds, err
		case len(fds) > r.limit:
			return fds, r.tooMany(fds)
		}
		if done += n; done < len(b) && begun != nil {
			begun()
		}
	}
	return fds, nil
}

// parseRights collects the file descriptors of all control messages. It returns those it
// found even when it fails, for they are open by now.
func parseRights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("ancillary data: %w", err)
	}
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET || messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		got, bad := unix.ParseUnixRights(&messages[i])
		if bad != nil && err == nil {
			err = fmt.Errorf("ancillary data: %w", bad)
		}
		fds = append(fds, got...)
	}
	return fds, err
}
