package channel

import (
	"os"
	"sync"
	"syscall"
	"time"

	"vvufwd/virtio/peerfd"
)

// Conn is a connection that Serve has accepted. It is like the file of its socket, but that files which the other side
// sends, as none should, hold no one up: see peerfd. One goroutine at a time reads; to close is safe for concurrent use.
type Conn struct {
	file   *os.File
	in     *peerfd.Receiver
	bin    *peerfd.Bin // for what the other side sends
	buffer [4096]byte  // what is read, until Read has it
	closed chan struct{}
	once   sync.Once
}

func newConn(file *os.File, bin *peerfd.Bin) *Conn {
	return &Conn{file: file, in: peerfd.NewReceiver(file, 0), bin: bin, closed: make(chan struct{})}
}

// received is what a Receive has returned.
type received struct {
	n   int
	fds []int
	err error
}

// Read implements io.Reader. It fails if descriptors come along, and at once when the connection is closed.
func (c *Conn) Read(p []byte) (int, error) {
	got, ok := peerfd.Await(c.closed, func() (r received) {
		r.n, r.fds, r.err = c.in.Receive(c.buffer[:min(len(p), len(c.buffer))])
		return r
	}, func(late received) { c.bin.Discard(late.fds...) })
	if !ok {
		return 0, os.ErrClosed
	}
	c.bin.Discard(got.fds...)
	return copy(p, c.buffer[:got.n]), got.err
}

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) { return c.file.Write(p) }

// Close closes the connection. It does not wait.
func (c *Conn) Close() (err error) {
	c.once.Do(func() {
		close(c.closed)
		err = c.in.Close(c.bin)
	})
	return err
}

// SetReadDeadline and SetWriteDeadline are those of the file.
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.file.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.file.SyscallConn() }
