package nic

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
)

// fakeOpener opens fake cards, at most one at a time.
type fakeOpener struct {
	pairs int

	mu      sync.Mutex              // for what follows
	prepare func(c *fakeCard) error // may change the card that is opened, or fail

	opened    []*fakeCard
	stops     []bool // hard
	dirtyOpen int    // opened without a stop since the last one, or before it was closed
}

func (o *fakeOpener) Open(pairs int, failed func(error)) (Card, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.opened); n > 0 && (o.last().closed == 0 || o.last().open) {
		o.dirtyOpen++
	}
	c := newFakeCard(min(pairs, o.pairs))
	c.fail = failed
	if o.prepare != nil {
		if err := o.prepare(c); err != nil {
			return nil, err
		}
	}
	o.opened = append(o.opened, c)
	return c, nil
}

func (o *fakeOpener) Stop(hard bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stops = append(o.stops, hard)
	if len(o.opened) > 0 {
		o.last().open = false
	}
	return nil
}

// card is the last one that was opened.
func (o *fakeOpener) card() *fakeCard {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last()
}

func (o *fakeOpener) last() *fakeCard { return o.opened[len(o.opened)-1] }

// prepareWith sets prepare for the next cards.
func (o *fakeOpener) prepareWith(f func(c *fakeCard) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prepare = f
}

// fakeCard is a card whose queue pairs count what is done to them.
type fakeCard struct {
	queues  []*fakeQueue
	up      bool
	linkErr error
	spread  []int
	refuses error // what Spread returns
	closed  int
	open    bool // not stopped
	fail    func(error)
	broken  chan error // ends Watch
	links   chan bool  // Watch tells of them
}

func newFakeCard(pairs int) *fakeCard {
	c := &fakeCard{up: true, open: true, broken: make(chan error, 1), links: make(chan bool)}
	for range pairs {
		c.queues = append(c.queues, &fakeQueue{absent: newAbsent()})
	}
	return c
}

func (c *fakeCard) Info() Info              { return Info{Name: "fake"} }
func (c *fakeCard) Link() (bool, error)     { return c.up, c.linkErr }
func (c *fakeCard) Statistics() []Statistic { return []Statistic{{"missed", 7}} }
func (c *fakeCard) Close() error            { c.closed++; return nil }

func (c *fakeCard) Spread(pairs int) error {
	c.spread = append(c.spread, pairs)
	return c.refuses
}

func (c *fakeCard) Watch(ctx context.Context, changed func(bool)) error {
	for {
		select {
		case up := <-c.links:
			changed(up)
		case err := <-c.broken:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *fakeCard) Queues() (queues []Queue) {
	for _, q := range c.queues {
		queues = append(queues, q)
	}
	return queues
}

// fakeQueue takes all frames and has always one for us.
type fakeQueue struct {
	absent
	sent, received, kicksDisabled int
	recovered                     int
	pending, done                 atomic.Int64
	used                          atomic.Int64 // calls altogether
}

func (q *fakeQueue) Name() string { return "fake:0" }
func (q *fakeQueue) Transmit(_ *virtionet.Burst, first, end int) int {
	q.used.Add(1)
	q.sent += end - first
	q.counters.TxPackets += uint64(end - first)
	return end - first
}
func (q *fakeQueue) Receive(b *virtionet.Burst) bool {
	q.used.Add(1)
	q.received++
	b.General()
	b.Truncate(1)
	return true
}
func (q *fakeQueue) Release(*virtionet.Burst, int, int) { q.used.Add(1) }
func (q *fakeQueue) Recover()                           { q.used.Add(1); q.recovered++ }
func (q *fakeQueue) DisableKicks()                      { q.used.Add(1); q.kicksDisabled++ }
func (q *fakeQueue) InFlight() (int, uint64) {
	q.used.Add(1)
	return int(q.pending.Load()), uint64(q.done.Load())
}
func (q *fakeQueue) WakeFDs() []int { return []int{100} }

func until(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}
