package nic

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestStorm has cards break at any moment, some at once: when they are opened, while the
// forwarder works or control asks, and when all ends. Each is closed once, none is opened
// before the one before was stopped, and nothing is left.
func TestStorm(t *testing.T) {
	before := runtime.NumGoroutine()
	for round := range 12 {
		o := &fakeOpener{pairs: 2}
		s := newSlot(t, o)
		o.prepareWith(func(c *fakeCard) error {
			if rand.IntN(4) == 0 {
				return errors.New("not yet")
			}
			c.broken <- errors.New("broken")
			return nil
		})
		s.OnChange(func() {})
		w := &Watcher{Slot: s, OnLink: func(bool) {}, Log: zap.NewNop()}
		stop := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var loop, control sync.WaitGroup
		loop.Go(func() { forward(s, stop) })
		control.Go(func() { w.Run(ctx) })
		control.Go(func() {
			for ctx.Err() == nil {
				s.State()
				s.Spread(1 + rand.IntN(2))
				s.SetLink(rand.IntN(2) == 0)
				runtime.Gosched()
			}
		})
		o.card().broken <- errors.New("broken")
		if round > 0 {
			time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond)
		}
		cancel()
		control.Wait()
		close(stop)
		loop.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		for i, c := range o.opened {
			if c.closed != 1 {
				t.Fatalf("round %d: card %d of %d was closed %d times", round, i, len(o.opened), c.closed)
			}
		}
		if o.dirtyOpen > 0 {
			t.Fatalf("round %d: %d cards were opened before the last one was closed and stopped", round, o.dirtyOpen)
		}
		o.mu.Unlock()
	}
	until(t, func() bool { return runtime.NumGoroutine() <= before })
}
