package logging

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// Queue is a writer that never waits. What is written to it is copied and passed on by
// a goroutine of its own, a line or a record of several lines at a time, so that a pipe
// or a console that no one reads stops no one who writes. What finds no room in the
// queue is dropped, counted, and reported where it is missing, once there is room again.
// It is safe for concurrent use.
//
// The goroutine exists only while there is something to pass on.
type Queue struct {
	out   io.Writer
	limit int // bytes

	mu      sync.Mutex // held for moments only, never while out is written to
	waiting [][]byte   // in the order in which they were written
	size    int        // bytes in waiting
	dropped uint64     // writes that belong after waiting
	busy    bool       // the goroutine exists
	report  func(lost uint64, err error) (told bool)
	idle    []chan struct{} // closed when all is passed on

	lost uint64 // the goroutine's: writes that were not passed on and not reported yet
	err  error  // the goroutine's: why out failed last, nil if it did not
}

// Room of a queue, in bytes. The goroutine holds as much again at most, which out is
// about to take.
const (
	DefaultRoom = 256 << 10
	CrashRoom   = 1 << 20 // for what Go tells of all goroutines when a program crashes

	eachWrite = 64 // what it takes besides its bytes
)

// NewQueue returns a queue that passes on to out and holds up to room bytes. What is
// lost is reported nowhere until ReportLost is called.
func NewQueue(out io.Writer, room int) *Queue {
	return &Queue{out: out, limit: room, report: func(uint64, error) bool { return false }}
}

// ReportLost sets the function that is told of writes that were lost, each time that
// there was some and the queue has been passed on: how many, and with which error out
// fails, or nil if it takes what it gets. It may write to the queue's own out, as no one
// else does at that moment. It returns false to be told again, of these and later ones.
func (q *Queue) ReportLost(report func(lost uint64, err error) (told bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.report = report
}

// Write takes p over, or drops it if there is no room. It never fails.
func (q *Queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// After something dropped nothing is taken before that is told, so that it is told
	// where it is missing.
	if size := len(p) + eachWrite; q.dropped > 0 || q.size+size > q.limit {
		q.dropped++
	} else {
		q.waiting = append(q.waiting, bytes.Clone(p))
		q.size += size
	}
	if !q.busy {
		q.busy = true
		go q.passOn()
	}
	return len(p), nil
}

// passOn writes to out until nothing is left.
func (q *Queue) passOn() {
	for {
		writes, report, done := q.take()
		if done {
			return
		}
		for _, w := range writes {
			if _, q.err = q.out.Write(w); q.err != nil {
				q.lost++
			}
		}
		if q.lost > 0 && report(q.lost, q.err) {
			q.lost = 0
		}
	}
}

// take takes over all that waits, or says that nothing does and the goroutine ends.
func (q *Queue) take() (writes [][]byte, report func(uint64, error) bool, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	writes, q.waiting, q.size = q.waiting, nil, 0
	if len(writes) == 0 && q.dropped == 0 {
		for _, waiter := range q.idle {
			close(waiter)
		}
		q.busy, q.idle = false, nil
		return nil, nil, true
	}
	q.lost += q.dropped
	q.dropped = 0
	return writes, q.report, false
}

// settled is closed when all that has been written so far was passed on.
func (q *Queue) settled() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	done := make(chan struct{})
	if q.busy {
		q.idle = append(q.idle, done)
	} else {
		close(done)
	}
	return done
}

// Flush waits until all that was written to the queues has been passed on, but no longer
// than patience, and reports whether it was. A program calls it at its end: its last
// words deserve a moment, and no more.
func Flush(patience time.Duration, queues ...*Queue) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, q := range queues {
		select {
		case <-q.settled():
		case <-timeout.C:
			return false
		}
	}
	return true
}

// Told waits as Flush does, and returns why what was written could not be passed on, nil if it was: for programs that were
// asked for a text and nothing else.
func (q *Queue) Told(patience time.Duration) error {
	if !Flush(patience, q) {
		return errors.New("no one reads the standard output")
	}
	q.mu.Lock() // the goroutine is gone
	defer q.mu.Unlock()
	return q.err
}
