package vfiouser

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// request is one message of the client. The descriptors belong to whoever holds
// the request; framer.discard lets go of those that nobody took.
type request struct {
	header
	payload []byte // valid until the next read
	fds     []int  // -1 where one was taken
}

// takeFD hands over descriptor i.
func (r *request) takeFD(i int) int {
	fd := r.fds[i]
	r.fds[i] = -1
	return fd
}

// discard lets go of the descriptors that nobody took.
func (f *framer) discard(r *request) {
	f.bin.Discard(r.fds...)
	r.fds = nil
}

// framer cuts the stream of a client into messages. One goroutine owns it.
type framer struct {
	conn *net.UnixConn
	bin  *peerfd.Bin
	oob  []byte
	buf  []byte // payload of the current request
	out  []byte // reply being built
}

func newFramer(conn *net.UnixConn, bin *peerfd.Bin) *framer {
	return &framer{conn: conn, bin: bin, oob: make([]byte, unix.CmsgSpace(MaxFDs*4)), buf: make([]byte, 4096)}
}

// read returns the next message, io.EOF at a clean end of the stream.
//
// The header is received on its own: descriptors belong to the message whose
// first bytes they came with, and a longer read could run into the next message
// and lose that bond.
func (f *framer) read() (*request, error) {
	var head [headerSize]byte
	req := &request{}
	for got := 0; got < headerSize; {
		n, oobn, flags, _, err := f.conn.ReadMsgUnix(head[got:], f.oob)
		if oobn > 0 {
			fds, perr := parseRights(f.oob[:oobn])
			req.fds = append(req.fds, fds...)
			if perr == nil && flags&unix.MSG_CTRUNC != 0 {
				perr = fmt.Errorf("message carries more than %d descriptors", MaxFDs)
			}
			if perr == nil && len(req.fds) > MaxFDs {
				perr = fmt.Errorf("message carries %d descriptors, at most %d are allowed", len(req.fds), MaxFDs)
			}
			if perr != nil {
				f.discard(req)
				return nil, perr
			}
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			f.discard(req)
			if got > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		got += n
	}
	req.header = parseHeader(&head)
	if req.Size < headerSize || req.Size > maxMessage {
		f.discard(req)
		return nil, fmt.Errorf("%v: message of %d bytes, allowed are %d to %d", req.Command, req.Size, headerSize, maxMessage)
	}
	n := int(req.Size - headerSize)
	if n > len(f.buf) {
		f.buf = make([]byte, n)
	}
	req.payload = f.buf[:n]
	if _, err := io.ReadFull(f.conn, req.payload); err != nil {
		f.discard(req)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%v: payload of %d bytes: %w", req.Command, n, err)
	}
	return req, nil
}

// reply starts the reply to a message and returns room for n bytes of payload,
// zeroed, for send.
func (f *framer) reply(n int) []byte {
	total := headerSize + n
	if cap(f.out) < total {
		f.out = make([]byte, total)
	}
	f.out = f.out[:total]
	clear(f.out)
	return f.out[headerSize:]
}

// send sends the reply to h that reply started, with an optional descriptor that
// stays the caller's (-1 for none).
func (f *framer) send(h header, fd int) error {
	header{ID: h.ID, Command: h.Command, Size: uint32(len(f.out)), Flags: flagReply}.put(f.out)
	return f.write(f.out, fd)
}

// sendError sends an error reply, which has no payload.
func (f *framer) sendError(h header, errno unix.Errno) error {
	f.reply(0)
	header{ID: h.ID, Command: h.Command, Size: headerSize, Flags: flagReply | flagError, Errno: uint32(errno)}.put(f.out)
	return f.write(f.out, -1)
}

func (f *framer) write(b []byte, fd int) error {
	n := 0
	if fd >= 0 {
		var err error
		if n, _, err = f.conn.WriteMsgUnix(b, unix.UnixRights(fd), nil); err != nil {
			return err
		}
	}
	_, err := f.conn.Write(b[n:])
	return err
}

// parseRights returns all descriptors in a control message, also when it fails.
func parseRights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	for i := range msgs {
		if msgs[i].Header.Level != unix.SOL_SOCKET || msgs[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		got, perr := unix.ParseUnixRights(&msgs[i])
		if perr != nil && err == nil {
			err = fmt.Errorf("control message: %w", perr)
		}
		fds = append(fds, got...)
	}
	return fds, err
}
