package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/channel"
)

// output is where a capture goes. It belongs to the recorder's goroutine, stop aside.
type output interface {
	// reader says whether there is someone to write for, and whether someone new, for whom a section has to begin.
	reader() (there, fresh bool)
	// Write may wait for the reader, who is the only one to be kept waiting. It fails with errReaderGone if another may come.
	io.Writer
	// stop has writing end soon, whatever the reader does.
	stop()
	Close() error
}

// errReaderGone ends a section.
var errReaderGone = errors.New("the reader has left")

// farewell is how long a reader that does not take what it is given is waited for at the end.
const farewell = time.Second

// newOutput makes the output of an open file. Changed is called when there is a new reader, if the output can tell.
func newOutput(s Spec, f *os.File, changed func()) (output, error) {
	switch {
	case s.listens():
		return newListening(channel.Inherit(f, s.Live), changed), nil
	case s.Live.Kind == channel.Serial:
		return newSerial(f)
	}
	return &filed{File: f}, nil
}

// filed is a file, a pipe or a device. It has one section, and is written whole blocks at a time.
type filed struct {
	*os.File
	begun bool
	size  int64 // that was written
	last  int64 // where the last whole block begins
}

// Write writes blocks. Those that a full disk has no room for any more leave a file that ends with a whole block: readers take one that
// ends within a block for one that was cut short.
func (f *filed) Write(blocks []byte) (int, error) {
	n, err := f.File.Write(blocks)
	end := 0
	for end+leastBlock <= n {
		length := int(binary.LittleEndian.Uint32(blocks[end+4:]))
		if end+length > n {
			break
		}
		f.last = f.size + int64(end)
		end += length
	}
	whole := f.size + int64(end)
	if f.size += int64(n); err != nil && whole < f.size {
		f.fill(whole)
	}
	return n, err
}

// fill makes one block, which readers pass over, of what follows the last whole one, together with that if there is too little for a
// block. To cut the file off is not for a confined process, which could do so to guests' memory. A disk is full at the end of a
// sector, so that what is there are whole words, as blocks are.
func (f *filed) fill(from int64) {
	if f.size-from < leastBlock {
		from = f.last
	}
	if from == 0 || (f.size-from)%4 != 0 {
		return // there is not even a section, or no sector
	}
	head := binary.LittleEndian.AppendUint32(nil, blockFiller)
	length := binary.LittleEndian.AppendUint32(nil, uint32(f.size-from))
	if _, err := f.WriteAt(append(head, length...), from); err == nil { // no pipe can
		_, _ = f.WriteAt(length, f.size-int64(len(length)))
	}
}

func (f *filed) reader() (there, fresh bool) {
	fresh = !f.begun
	f.begun = true
	return true, fresh
}

func (f *filed) stop() { _ = f.SetWriteDeadline(time.Now().Add(farewell)) } // no file of a disk has one, nor needs it

// listening is a socket to which readers connect, one at a time: who comes last is served.
type listening struct {
	end     context.CancelFunc
	ended   chan struct{}
	changed func()

	mu   sync.Mutex
	next *visit // who has come last, nil: no one is there
	last *visit // whom the section is for
	over time.Time
}

// visit is one reader's.
type visit struct {
	conn *channel.Conn
	gone context.CancelFunc
}

func newListening(l *channel.Listener, changed func()) *listening {
	ctx, end := context.WithCancel(context.Background())
	out := &listening{end: end, ended: make(chan struct{}), changed: changed}
	go func() {
		defer close(out.ended)
		channel.Serve(ctx, l, 1, out.serve)
	}()
	return out
}

// serve keeps a connection until someone else comes, or nothing can be written to it any more.
func (l *listening) serve(ctx context.Context, conn *channel.Conn) {
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	v := &visit{conn, gone}
	l.mu.Lock()
	l.next = v
	if !l.over.IsZero() {
		conn.SetWriteDeadline(l.over)
	}
	l.mu.Unlock()
	l.changed()
	go func() {
		var nothing [512]byte // is what readers have to say
		for {
			if _, err := conn.Read(nothing[:]); err != nil {
				if !errors.Is(err, io.EOF) {
					gone()
				}
				return // after which they may still read
			}
		}
	}()
	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == v {
		l.next = nil
	}
}

func (l *listening) reader() (there, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil && !connected(l.next.conn) { // one that only says no more has not left
		l.next.gone()
		l.next = nil
	}
	fresh = l.next != nil && l.next != l.last
	l.last = l.next
	return l.next != nil, fresh
}

func (l *listening) Write(p []byte) (int, error) {
	v := l.last
	n, err := v.conn.Write(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		v.gone()
		l.mu.Lock()
		if l.next == v { // not to be written for again, though it takes a moment until serve is through
			l.next = nil
		}
		l.mu.Unlock()
		return n, errReaderGone
	}
	return n, err
}

func (l *listening) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = time.Now().Add(farewell)
	if l.next != nil {
		l.next.conn.SetWriteDeadline(l.over)
	}
}

func (l *listening) Close() error {
	l.end()
	<-l.ended
	return nil
}

// serial is a virtio-serial port, whose readers come and go at the host's end.
type serial struct {
	file *os.File
	raw  interface{ Control(func(uintptr)) error }
	left atomic.Uint64 // times that a reader has left
	over atomic.Int64  // when writing has to end; 0: not soon

	there bool
	seen  uint64 // of left, when the section began
}

func newSerial(f *os.File) (*serial, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	in, err := channel.NewSerialReader(f)
	if err != nil {
		return nil, err
	}
	s := &serial{file: f, raw: raw}
	go func() {
		var nothing [512]byte
		for {
			if _, err := in.Read(nothing[:]); errors.Is(err, io.EOF) {
				s.left.Add(1)
			} else if err != nil {
				return // closed
			}
		}
	}()
	return s, nil
}

func (s *serial) reader() (there, fresh bool) {
	before, left := s.there, s.left.Load()
	s.there = connected(s.file)
	fresh = s.there && (!before || left != s.seen)
	s.seen = left
	return s.there, fresh
}

// connected asks the kernel whether there is someone at the other end of a socket or a virtio-serial port.
func connected(f syscall.Conn) (yes bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, err := unix.Poll(ask, 0)
		yes = err == nil && ask[0].Revents&unix.POLLHUP == 0
	})
	return yes
}

// rest is how long a full port is left alone.
const rest = time.Millisecond

// Write does not leave waiting to the kernel: what is left of one reader's section must not get to the next one.
func (s *serial) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, failure := 0, error(nil)
		if err := s.raw.Control(func(fd uintptr) { n, failure = unix.Write(int(fd), p[done:]) }); err != nil {
			return done, err
		}
		done += max(n, 0)
		over := s.over.Load()
		switch {
		case s.left.Load() != s.seen || !connected(s.file):
			s.there = false
			return done, errReaderGone
		case failure == nil, errors.Is(failure, unix.EINTR):
		case !errors.Is(failure, unix.EAGAIN):
			return done, failure
		case over != 0 && time.Now().UnixNano() > over:
			return done, os.ErrDeadlineExceeded
		default:
			time.Sleep(rest)
		}
	}
	return done, nil
}

func (s *serial) stop() { s.over.Store(time.Now().Add(farewell).UnixNano()) }

func (s *serial) Close() error { return s.file.Close() }
