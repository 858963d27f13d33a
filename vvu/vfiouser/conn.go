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
// the request; framer.discard releases those that no one took.
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

// discard releases the descriptors that no one took.
func (f *framer) discard(r *request) {
	f.bin.Discard(r.fds...)
	r.fds = nil
}

// framer cuts the stream of a client into messages. One goroutine owns it.
type framer struct {
	conn *net.UnixConn
	bin  *peerfd.Bin
	in   *peerfd.Receiver
	buf  []byte // payload of the current request
	out  []byte // reply being built
}

func newFramer(conn *net.UnixConn, bin *peerfd.Bin) *framer {
	return &framer{conn: conn, bin: bin, in: peerfd.NewReceiver(conn, MaxFDs), buf: make([]byte, 4096)}
}

// read returns the next message, io.EOF at a clean end of the stream.
func (f *framer) read() (req *request, err error) {
	var head [headerSize]byte
	req = &request{}
	if req.fds, err = f.in.Fill(head[:], nil); err != nil {
		f.discard(req)
		return nil, err
	}
	req.header = parseHeader(&head)
	if req.Size < headerSize || req.Size > maxMessage {
		f.discard(req)
		return nil, fmt.Errorf("%v: message of %d bytes, want %d to %d", req.Command, req.Size, headerSize, maxMessage)
	}
	n := int(req.Size - headerSize)
	if n > len(f.buf) {
		f.buf = make([]byte, n)
	}
	req.payload = f.buf[:n]
	stray, err := f.in.Fill(req.payload, nil)
	f.bin.Discard(stray...) // they do not belong there
	if err != nil {
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

// close closes the connection, see peerfd.Receiver. Any goroutine may call it.
func (f *framer) close() { f.in.Close(f.bin) }

func (f *framer) write(b []byte, fd int) error {
	if fd < 0 {
		return peerfd.Send(f.conn, b)
	}
	return peerfd.Send(f.conn, b, fd)
}
