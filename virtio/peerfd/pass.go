package peerfd

import (
	"errors"
	"fmt"
	"io"
	"net"

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

// Receiver reads from a socket, with the descriptors that come along. One goroutine owns
// it.
type Receiver struct {
	conn  *net.UnixConn
	limit int
	oob   []byte
}

// NewReceiver makes a Receiver that takes at most limit descriptors at once.
func NewReceiver(conn *net.UnixConn, limit int) *Receiver {
	return &Receiver{conn: conn, limit: limit, oob: make([]byte, unix.CmsgSpace(limit*4))}
}

// Receive reads once: a packet, or what a stream has by now, up to the length of b. The
// descriptors, close-on-exec, are the caller's also when it fails. The error is io.EOF when
// the peer has closed the connection.
func (r *Receiver) Receive(b []byte) (n int, fds []int, err error) {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(b, r.oob)
	fds, malformed := parseRights(r.oob[:oobn])
	switch {
	case err == nil && n == 0:
		err = io.EOF
	case err != nil:
	case flags&unix.MSG_CTRUNC != 0, len(fds) > r.limit:
		err = fmt.Errorf("message carries more file descriptors than the limit of %d, or than this process may open", r.limit)
	default:
		err = malformed
	}
	return n, fds, err
}

// Header fills b from a stream and returns the descriptors that came with it, which are the
// caller's also when it fails. It calls begun, unless nil, each time that a part of b has
// come and the rest has not. The error is io.EOF when the peer closed the connection before
// the first byte, and io.ErrUnexpectedEOF when it did so after that.
//
// It never reads more than b: descriptors belong to the message whose first bytes they came
// with, and a longer read could run into the next message and take its descriptors for this
// one's.
func (r *Receiver) Header(b []byte, begun func()) (fds []int, err error) {
	for done := 0; done < len(b); {
		n, more, err := r.Receive(b[done:])
		fds = append(fds, more...)
		switch {
		case errors.Is(err, io.EOF) && done > 0:
			return fds, io.ErrUnexpectedEOF
		case err != nil:
			return fds, err
		case len(fds) > r.limit:
			return fds, fmt.Errorf("message carries %d file descriptors, the limit is %d", len(fds), r.limit)
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
