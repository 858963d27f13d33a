package vhostuser

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// MaxFDs is how many file descriptors a message may bring: one per memory
// region. QEMU's and rust-vmm's limits are not larger.
const MaxFDs = 32

// Conn carries messages over a UNIX stream socket, in either role. File
// descriptors travel as ancillary data of a message's first byte.
//
// One goroutine may read while another writes; two must not read, nor two write,
// at once. A peer that stalls in the middle of a message blocks ReadMessage until
// the deadline, until its patience ends, or until Close, which any goroutine may
// call.
type Conn struct {
	sock     *net.UnixConn
	in       *peerfd.Receiver
	out      []byte        // scratch of WriteMessage
	patience time.Duration // see SetPatience
	bin      *peerfd.Bin   // see SetBin

	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// NewConn takes over a connected stream socket.
func NewConn(sock *net.UnixConn) *Conn {
	return &Conn{sock: sock, in: peerfd.NewReceiver(sock, MaxFDs), bin: new(peerfd.Bin), closed: make(chan struct{})}
}

// SetBin says where descriptors go that the peer sends and no one wants. A peer that
// comes again and again is better given the same one. Call it before the first
// ReadMessage.
func (c *Conn) SetBin(b *peerfd.Bin) { c.bin = b }

// Discard releases the descriptors that came with a message and forgets them.
func (c *Conn) Discard(m *Message) {
	c.bin.Discard(m.FDs...)
	m.FDs = nil
}

// Dial connects to the vhost-user socket at path. Errors do not name it, which the caller knows.
func Dial(path string) (*Conn, error) {
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w (is the other side listening?)", errors.Unwrap(err))
	}
	return NewConn(sock), nil
}

// SetReadDeadline bounds the waiting of ReadMessage, see net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.sock.SetReadDeadline(t) }

// SetWriteDeadline bounds the waiting of WriteMessage, see net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.sock.SetWriteDeadline(t) }

// SetPatience bounds how long a message that has begun may take to be complete;
// waiting for one to begin stays unbounded. Call it before the first ReadMessage,
// and then use no read deadline besides. Zero, the default, is no bound.
func (c *Conn) SetPatience(d time.Duration) { c.patience = d }

// armDeadline starts the time that the rest of a message may take; clearDeadline ends it.
func (c *Conn) armDeadline() {
	if c.patience > 0 {
		c.sock.SetReadDeadline(time.Now().Add(c.patience)) // fails on a closed socket, as the read will
	}
}

func (c *Conn) clearDeadline() {
	if c.patience > 0 {
		c.sock.SetReadDeadline(time.Time{})
	}
}

// Close closes the socket, without waiting for what of the peer's is closed with it, nor for the
// kernel to be through with ReadMessage, which returns. It may be called more than once and from
// any goroutine.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.closeErr = c.in.Close(c.bin)
	})
	return c.closeErr
}

// ReadMessage reads one message. The caller owns its payload and its file
// descriptors, which are close-on-exec. The error is io.EOF when the peer closed
// the connection between messages, and wraps io.ErrUnexpectedEOF when it did so
// within one. After any error the stream has lost its framing: close it.
func (c *Conn) ReadMessage() (Message, error) {
	// Not here: the kernel may close a file of the peer's within the read, see peerfd.Receiver.
	in, ok := peerfd.Await(c.closed, c.read, func(late incoming) { c.Discard(&late.Message) })
	if !ok {
		return Message{}, net.ErrClosed
	}
	return in.Message, in.err
}

// incoming is what ReadMessage returns.
type incoming struct {
	Message
	err error
}

func (c *Conn) read() (in incoming) {
	in.err = c.readMessage(&in.Message)
	if in.err != nil {
		c.Discard(&in.Message)
		in.Message = Message{}
	}
	return in
}

// readMessage reads a message; its descriptors are the caller's also when it fails.
func (c *Conn) readMessage(m *Message) (err error) {
	defer c.clearDeadline()
	var header [HeaderSize]byte
	if m.FDs, err = c.in.Fill(header[:], c.armDeadline); err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read message header: %w", err)
		}
		return err
	}
	h, err := ParseHeader(header[:])
	if err != nil {
		return err
	}
	m.Request, m.Flags = h.Request, h.Flags
	if h.Size == 0 {
		return nil
	}
	m.Payload = make([]byte, h.Size) // at most MaxPayload
	c.armDeadline()
	// Should a peer attach descriptors to the payload, they do not belong there.
	stray, err := c.in.Fill(m.Payload, nil)
	c.bin.Discard(stray...)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d-byte payload of %v: %w", h.Size, h.Request, err)
	}
	return nil
}

// WriteMessage sends m with its file descriptors, which stay the caller's and
// may be closed once it returns. After an error the stream may have lost its
// framing: close it.
func (c *Conn) WriteMessage(m Message) error {
	if len(m.Payload) > MaxPayload {
		return fmt.Errorf("%v has a payload of %d bytes, more than the limit of %d", m.Request, len(m.Payload), MaxPayload)
	}
	if len(m.FDs) > MaxFDs {
		return fmt.Errorf("%v has %d file descriptors, more than the limit of %d", m.Request, len(m.FDs), MaxFDs)
	}
	c.out = m.Append(c.out[:0])
	if err := peerfd.Send(c.sock, c.out, m.FDs...); err != nil {
		return fmt.Errorf("write %v: %w", m.Request, err)
	}
	return nil
}

// PeerClosed reports whether err, from ReadMessage or WriteMessage, only says
// that the connection ended: the peer closed it, died, or we called Close.
func PeerClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

// CloseFDs closes the message's file descriptors and forgets them. Those of a peer that
// is not trusted are for Conn.Discard.
func (m *Message) CloseFDs() {
	for _, fd := range m.FDs {
		unix.Close(fd)
	}
	m.FDs = nil
}
