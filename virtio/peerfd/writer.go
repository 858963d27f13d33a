package peerfd

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// writer rings an event where the kernel has no asynchronous I/O: by a write, on a
// goroutine of its own, because the peer can let that wait. A peer that does so has
// stopped nothing but the notifications that it would have got.
type writer struct {
	state atomic.Int32
}

// States of a writer.
const (
	writerIdle  = iota
	writerBusy  // a goroutine is about to write, or waits in the write
	writerAgain // and is to write once more after that
)

// maxWriting is how many goroutines of a set write at a time, each on a thread. Those
// of peers that let them wait stay until the peer is gone; an event beyond that number is not
// rung.
const maxWriting = 64

// one is what a notification adds to an eventfd's counter.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// ring has e written to, soon. Two calls may come as one write.
func (w *writer) ring(e *Event) {
	for {
		switch {
		case w.state.CompareAndSwap(writerIdle, writerBusy):
			if !e.enter() {
				return
			}
			if e.set.writing.Add(1) > maxWriting {
				e.set.writing.Add(-1)
				w.state.Store(writerIdle)
				e.exit()
				return
			}
			go w.write(e)
			return
		case w.state.CompareAndSwap(writerBusy, writerAgain), w.state.Load() == writerAgain:
			return
		}
	}
}

// write writes until no one asks for more. It has entered the event.
func (w *writer) write(e *Event) {
	defer e.exit()
	defer e.set.writing.Add(-1)
	for {
		// A counter that is full has a notification waiting already.
		if ready(e.fd, unix.POLLOUT) {
			unix.Write(e.fd, one)
		}
		if w.state.CompareAndSwap(writerBusy, writerIdle) {
			return
		}
		w.state.Store(writerBusy)
	}
}

// rescueInterval is how often room is made for a write that waits.
const rescueInterval = 50 * time.Millisecond

// rescue exits an event that has been closed, after a write to it that may be waiting:
// it makes room for that. The peer may fill it again first; once it is gone no one
// does.
func (w *writer) rescue(e *Event) {
	if w.state.Load() == writerIdle {
		e.exit()
		return
	}
	go func() {
		defer e.exit()
		for d := (Drainer{}); e.users.Load() != closedUsers+1; time.Sleep(rescueInterval) {
			d.Drain(e.fd)
		}
	}()
}
