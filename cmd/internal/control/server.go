package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"vvufwd/cmd/internal/channel"
)

// Bounds of what clients can have.
const (
	// MaxClients is how many may be connected at a time; one more, and the first of them is hung up on.
	MaxClients = 16
	// idle is how long a client may take from one request to the next, and slow how long to take an answer.
	idle = time.Minute
	slow = 5 * time.Second
	// pace is how long a client that has an answer has to wait for its next one.
	pace = 10 * time.Millisecond
)

// Server answers requests. It is safe for concurrent use.
type Server struct {
	// Write allows requests that change something.
	Write bool
	// Refusal says what would allow them.
	Refusal string
	// Do carries a request out. What it returns has a form in JSON.
	Do func(Request) (any, error)
}

// Serve answers at a listener until ctx is done.
func (s *Server) Serve(ctx context.Context, l *channel.Listener) {
	channel.Serve(ctx, l, MaxClients, s.client)
}

// client answers one until it is gone.
func (s *Server) client(ctx context.Context, conn *channel.Conn) {
	in := bufio.NewReaderSize(conn, MaxRequest)
	for {
		conn.SetReadDeadline(time.Now().Add(idle))
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			conn.SetWriteDeadline(time.Now().Add(slow))
			conn.Write(answer("", nil, errTooLong))
			return
		}
		if len(bytes.TrimSpace(line)) > 0 { // one without its newline, at the end, will do
			out := s.answer(line)
			conn.SetWriteDeadline(time.Now().Add(slow))
			if _, err := conn.Write(out); err != nil || !rest(ctx) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// errTooLong is the answer to a request that does not end.
var errTooLong = errors.New("the request is too long")

// ServeSerial answers at a virtio-serial port until ctx is done. The port's file is closed then.
func (s *Server) ServeSerial(ctx context.Context, port *os.File) error {
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	from, err := channel.NewSerialReader(port)
	if err != nil {
		return err
	}
	return s.serveStream(ctx, from, port)
}

// stream is where answers go that a client may not take.
type stream interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// serveStream answers what comes from a stream of which one client after the other has the other end. The reader says io.EOF when
// one has left.
func (s *Server) serveStream(ctx context.Context, from io.Reader, to stream) error {
	in := bufio.NewReaderSize(from, MaxRequest)
	skip, cut := false, false // the rest of a line that was too long; the last answer was not taken whole
	for {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		var out []byte
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF): // with what was left half written
			skip = false
			continue
		case err != nil && !long:
			return err
		case skip:
		case long:
			out = answer("", nil, errTooLong)
		case len(bytes.TrimSpace(line)) > 0:
			out = s.answer(line)
		}
		skip = long
		if out == nil {
			continue
		}
		if cut {
			out = append([]byte("\n"), out...)
		}
		if err := to.SetWriteDeadline(time.Now().Add(slow)); err != nil {
			return err
		}
		_, err = to.Write(out)
		rest(ctx)
		if cut = err != nil; cut && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			return err
		}
	}
}

// answer carries a request out.
func (s *Server) answer(line []byte) []byte {
	r, err := ParseRequest(line)
	if err == nil && r.Writes() && !s.Write {
		err = errors.New("this may be asked and not told: " + s.Refusal)
	}
	var data any
	if err == nil {
		data, err = s.Do(r)
	}
	return answer(r.ID, data, err)
}

// rest has a client wait, and reports whether it is still to be answered.
func rest(ctx context.Context) bool {
	select {
	case <-time.After(pace):
		return true
	case <-ctx.Done():
		return false
	}
}
