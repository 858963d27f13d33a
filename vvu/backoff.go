package vvu

import (
	"context"
	"time"

	"vvufwd/vvu/session"
)

// backoff slows down what should not happen often: the first few times in a
// while are free, then each wait doubles.
type backoff struct {
	last  time.Time
	count int
}

const (
	// QEMU's device drops the session once for each ring when a front-end connects.
	backoffFree  = 2 * session.MaxPairs
	backoffQuiet = 5 * time.Second // without an event, all is forgiven
	backoffFirst = 10 * time.Millisecond
	backoffMost  = time.Second
)

// delay notes an event at now and returns how long to wait.
func (b *backoff) delay(now time.Time) time.Duration {
	if now.Sub(b.last) > backoffQuiet {
		b.count = 0
	}
	b.last = now
	b.count++
	if b.count <= backoffFree {
		return 0
	}
	return min(backoffFirst<<min(b.count-backoffFree-1, 10), backoffMost)
}

// wait notes an event and waits as long as it deserves, or until ctx is done.
func (b *backoff) wait(ctx context.Context) {
	if d := b.delay(time.Now()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		b.last = time.Now()
	}
}
