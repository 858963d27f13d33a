package nic

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
)

// fakeCard is a card whose queue pairs count what is done to them.
type fakeCard struct {
	Card
	queues []*fakeQueue
	up     bool
	linkErr,
	spreadErr error
	spread []int
	closed int
}

func newFakeCard(pairs int) *fakeCard {
	c := &fakeCard{up: true}
	for range pairs {
		c.queues = append(c.queues, &fakeQueue{absent: newAbsent()})
	}
	return c
}

func (c *fakeCard) Info() Info          { return Info{Name: "fake"} }
func (c *fakeCard) Link() (bool, error) { return c.up, c.linkErr }
func (c *fakeCard) Spread(pairs int) error {
	c.spread = append(c.spread, pairs)
	return c.spreadErr
}
func (c *fakeCard) Close() error                                  { c.closed++; return nil }
func (c *fakeCard) Watch(ctx context.Context, _ func(bool)) error { <-ctx.Done(); return nil }
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
	abandoned                     int
	used                          atomic.Int64 // calls altogether
}

func (q *fakeQueue) Name() string { return "fake:0" }
func (q *fakeQueue) TxBurst(frames []virtionet.Frame) int {
	q.used.Add(1)
	q.sent += len(frames)
	q.counters.TxPackets += uint64(len(frames))
	return len(frames)
}
func (q *fakeQueue) RxBurst(frames []virtionet.Frame) int {
	q.used.Add(1)
	q.received++
	return 1
}
func (q *fakeQueue) Release(int)    { q.used.Add(1) }
func (q *fakeQueue) Abandon()       { q.used.Add(1); q.abandoned++ }
func (q *fakeQueue) DisableKicks()  { q.used.Add(1); q.kicksDisabled++ }
func (q *fakeQueue) WakeFDs() []int { return []int{100} }

// forward does what a forwarder does with a slot's ports until stop is closed.
func forward(s *Slot, stop chan struct{}) {
	var frames [4]virtionet.Frame
	for {
		select {
		case <-stop:
			for _, p := range s.Ports() {
				p.Leave()
			}
			return
		default:
		}
		for _, p := range s.Ports() {
			if p.Changed() {
				p.Sync()
			}
			p.Release(p.RxBurst(frames[:]))
			p.TxBurst(frames[:2])
		}
	}
}

// TestReplaced takes cards out of a slot that is served and puts others in. The old card is
// never touched after it was closed, and counters go on.
func TestReplaced(t *testing.T) {
	first := newFakeCard(2)
	s, err := NewSlot(first)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); forward(s, stop) }()
	if err := s.Spread(2); err != nil {
		t.Fatal(err)
	}
	card := first
	for range 10 {
		until(t, func() bool { return card.queues[1].used.Load() > 10 })
		if err := s.Remove(); err != nil || card.closed != 1 || s.Card() != nil {
			t.Fatalf("taken out: %v, closed %d times", err, card.closed)
		}
		before := card.queues[0].used.Load()
		next := newFakeCard(2)
		if up, err := s.Insert(next); !up || err != nil {
			t.Fatal(up, err)
		}
		if got := card.queues[0].used.Load(); got != before {
			t.Fatalf("a card that was closed was used %d times", got-before)
		}
		if len(next.spread) != 1 || next.spread[0] != 2 {
			t.Fatalf("the next card was told to spread %v", next.spread)
		}
		card = next
	}
	close(stop)
	<-done
	if sent := s.ports[0].Counters().TxPackets; sent <= uint64(card.queues[0].sent) {
		t.Errorf("%d packets counted, %d of them of the last card: the counters did not go on", sent, card.queues[0].sent)
	}
	if err := errors.Join(s.Remove(), s.Remove(), s.Close()); err != nil || card.closed != 1 {
		t.Errorf("after the forwarders ended: %v, closed %d times", err, card.closed)
	}
}

// Without a card, or a link, what is sent is dropped and counted, on both ways; nothing wakes
// a sleeping forwarder.
func TestEmptySlot(t *testing.T) {
	card := newFakeCard(1)
	s, err := NewSlot(card)
	if err != nil {
		t.Fatal(err)
	}
	p := s.ports[0]
	frames := make([]virtionet.Frame, 3)
	sends := func(want bool) {
		t.Helper()
		sent, dropped := card.queues[0].sent, p.Counters().Drops[virtionet.DropLinkDown]
		if n := p.TxBurst(frames); n != 3 {
			t.Errorf("done with %d frames of 3", n)
		}
		if got := card.queues[0].sent - sent; (got == 3) != want {
			t.Errorf("%d sent", got)
		}
		if got := p.Counters().Drops[virtionet.DropLinkDown] - dropped; (got == 3) == want {
			t.Errorf("%d dropped", got)
		}
		if n, other := p.WritePlain(nil, 3); n != 0 || !other {
			t.Errorf("the short way takes %d frames, other %v", n, other)
		}
	}
	sends(true)
	s.SetLink(false)
	sends(false)
	s.SetLink(true)
	sends(true)
	go s.Remove()
	until(t, p.Changed)
	p.Sync()
	if card.queues[0].abandoned != 1 {
		t.Error("what was held was not given up")
	}
	until(t, func() bool { return s.Card() == nil })
	sends(false)
	if n := p.RxBurst(frames); n != 0 {
		t.Errorf("%d frames came", n)
	}
	if f, r := p.EnableKicks(true); f || r || len(p.WakeFDs()) != 0 || p.Name() != "fake:0" {
		t.Error("there is work without a card, or another name")
	}
}

// A card that does not fit, or does not answer, is closed, and the slot stays empty.
func TestInsertRefuses(t *testing.T) {
	s, err := NewSlot(newFakeCard(2))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Ports() {
		p.Leave()
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := s.Spread(2); err != nil {
		t.Fatal("an empty slot does not spread:", err)
	}
	small, silent := newFakeCard(1), newFakeCard(2)
	silent.linkErr = errors.New("no answer")
	for want, card := range map[string]*fakeCard{"has 1 queue pairs and had 2": small, "no answer": silent} {
		if _, err := s.Insert(card); err == nil || !strings.Contains(err.Error(), want) || card.closed != 1 || s.Card() != nil {
			t.Errorf("got %v, want %q; closed %d times", err, want, card.closed)
		}
	}
	down := newFakeCard(2)
	down.up = false
	if up, err := s.Insert(down); up || err != nil || !s.ports[0].linkDown.Load() {
		t.Errorf("a card without a link: up %v, %v", up, err)
	}
}

func until(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}
