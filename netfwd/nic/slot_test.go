package nic

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// forward does what a forwarder does with a slot's ports until stop is closed.
func forward(s *Slot, stop chan struct{}) {
	var b virtionet.Burst
	for {
		select {
		case <-stop:
			for _, p := range s.ports {
				p.Leave()
			}
			return
		default:
		}
		for _, p := range s.ports {
			if p.Changed() {
				p.Sync()
			}
			p.Receive(&b)
			p.Transmit(&b, 0, b.Len())
			p.Release(&b, 0, b.Len())
		}
	}
}

// TestReplaced takes cards out of a slot that is served and puts others in. The old card is
// never touched after it was closed, and counters go on.
func TestReplaced(t *testing.T) {
	o := &fakeOpener{pairs: 2}
	s := newSlot(t, o)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); forward(s, stop) }()
	if err := s.Spread(2); err != nil {
		t.Fatal(err)
	}
	card := o.card()
	for range 10 {
		until(t, func() bool { return card.queues[1].used.Load() > 10 })
		if err := s.Remove(); err != nil || card.closed != 1 || s.Card() != nil {
			t.Fatalf("taken out: %v, closed %d times", err, card.closed)
		}
		before := card.queues[0].used.Load()
		if up, err := s.Open(); !up || err != nil {
			t.Fatal(up, err)
		}
		next := o.card()
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

// A slot is closed before anyone forwards, when a port beside it does not open: no one is
// there who would say that he is done with the card.
func TestClosedBeforeForwarding(t *testing.T) {
	o := &fakeOpener{pairs: 2}
	s := newSlot(t, o)
	if err := s.Close(); err != nil || o.card().closed != 1 || s.Card() != nil {
		t.Errorf("%v, closed %d times", err, o.card().closed)
	}
}

// Without a card, or a link, what is sent is dropped and counted; nothing wakes
// a sleeping forwarder.
func TestEmptySlot(t *testing.T) {
	o := &fakeOpener{pairs: 1}
	s := newSlot(t, o)
	card, p := o.card(), s.ports[0]
	b := nettest.BurstOf(make([]virtionet.Frame, 3)...)
	sends := func(want bool) {
		t.Helper()
		sent, dropped := card.queues[0].sent, p.Counters().Drops[virtionet.DropLinkDown]
		if n := p.Transmit(b, 0, 3); n != 3 {
			t.Errorf("done with %d frames of 3", n)
		}
		if got := card.queues[0].sent - sent; (got == 3) != want {
			t.Errorf("%d sent", got)
		}
		if got := p.Counters().Drops[virtionet.DropLinkDown] - dropped; (got == 3) == want {
			t.Errorf("%d dropped", got)
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
	if card.queues[0].recovered != 1 {
		t.Error("what was held was not given up")
	}
	until(t, func() bool { return s.Card() == nil })
	sends(false)
	if p.Receive(b) {
		t.Error("frames came")
	}
	if f, r := p.EnableKicks(true); f || r || len(p.WakeFDs()) != 0 || p.Name() != "fake:0" {
		t.Error("there is work without a card, or another name")
	}
}

// newSlot is a slot with a card in it.
func newSlot(t *testing.T, o *fakeOpener) *Slot {
	t.Helper()
	s, up, err := NewSlot(o, 8)
	if err != nil || !up {
		t.Fatal(up, err)
	}
	return s
}

// A card that does not fit, or does not answer, is closed, and the slot stays empty. One that does not spread is used.
func TestOpenRefuses(t *testing.T) {
	o := &fakeOpener{pairs: 2}
	s := newSlot(t, o)
	for _, p := range s.ports {
		p.Leave()
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := s.Spread(2); err != nil {
		t.Fatal("an empty slot does not spread:", err)
	}
	for want, prepare := range map[string]func(*fakeCard) error{
		"has 1 queue pairs and had 2": func(c *fakeCard) error { c.queues = c.queues[:1]; return nil },
		"not obeyed":                  func(c *fakeCard) error { c.refuses = errors.New("not obeyed"); return nil },
		"no answer":                   func(c *fakeCard) error { c.linkErr = errors.New("no answer"); return nil },
	} {
		o.prepare = prepare
		if _, err := s.Open(); err == nil || !strings.Contains(err.Error(), want) || o.card().closed != 1 || s.Card() != nil {
			t.Errorf("got %v, want %q; closed %d times", err, want, o.card().closed)
		}
	}
	o.prepare = func(c *fakeCard) error { c.up = false; return nil }
	if up, err := s.Open(); up || err != nil || !s.ports[0].linkDown.Load() {
		t.Errorf("a card without a link: up %v, %v", up, err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	refusal, warned := fmt.Errorf("not so many: %w", ErrRefused), error(nil)
	s.OnWarning(func(err error) { warned = err })
	o.prepare = func(c *fakeCard) error { c.refuses = refusal; return nil }
	if up, err := s.Open(); !up || err != nil || warned != refusal {
		t.Errorf("a card that does not spread: up %v, %v; warned of %v", up, err, warned)
	}
	if st := s.State(); !st.Working || st.Counters["missed"] != 7 {
		t.Errorf("its state is %+v", st)
	}
}

// sentQueue has sent something, which it is done with once someone takes it back.
type sentQueue struct {
	*fakeQueue
	sent bool
}

func (q *sentQueue) InFlight() (int, uint64) { q.sent = false; return 0, 1 }

// EnableKicks reports what no one has taken back yet.
func (q *sentQueue) EnableKicks(forRoom bool) (frames, room bool) { return false, forRoom && q.sent }

// Room that a card has made since the last Transmit is told a forwarder that falls asleep for want
// of it. To look whether the card hangs must not hide it: no interrupt comes for it any more.
func TestRoomIsNotHidden(t *testing.T) {
	p := newPort(&sentQueue{&fakeQueue{absent: newAbsent()}, true}, true)
	if _, room := p.EnableKicks(true); !room {
		t.Error("a forwarder sleeps although there is room")
	}
	if _, room := p.EnableKicks(true); room {
		t.Error("there is room again and again")
	}
}
