package nic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// watchRig is a watched slot whose ports are served now and then, in a bubble with a clock of
// its own.
type watchRig struct {
	*fakeOpener
	slot  *Slot
	links []bool
	logs  *observer.ObservedLogs
	end   func()
}

// newWatchRig starts all; asleep says that the forwarder looks at its ports only when woken.
func newWatchRig(t *testing.T, o *fakeOpener, asleep bool) *watchRig {
	r := &watchRig{fakeOpener: o, slot: newSlot(t, o)}
	core, logs := observer.New(zap.InfoLevel)
	r.logs = logs
	ctx, cancel := context.WithCancel(t.Context())
	woken := make(chan struct{}, 1)
	r.slot.OnChange(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	served, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		b := nettest.BurstOf(virtionet.Frame{})
		for ctx.Err() == nil {
			for _, p := range r.slot.ports {
				if p.Changed() {
					p.Sync()
				}
				p.Transmit(b, 0, 1)
			}
			rest := time.Second
			if asleep {
				for _, p := range r.slot.ports {
					p.EnableKicks(false)
				}
				rest = time.Hour
			}
			select {
			case <-ctx.Done():
			case <-woken:
			case <-time.After(rest):
			}
		}
		for _, p := range r.slot.ports {
			p.Leave()
		}
	}()
	w := Watcher{Slot: r.slot, OnLink: func(up bool) { r.links = append(r.links, up) }, Log: zap.New(core)}
	go func() { defer close(watched); w.Run(ctx) }()
	r.end = func() { cancel(); <-served; <-watched }
	return r
}

func (r *watchRig) said(text string) (n int) {
	for _, e := range r.logs.All() {
		if strings.Contains(e.Message+fmt.Sprint(e.ContextMap()), text) {
			n++
		}
	}
	return n
}

// Each kind of failure restarts the card: it is closed before it is opened again, its link is
// down meanwhile, and it is counted.
func TestRestart(t *testing.T) {
	for name, fail := range map[string]func(c *fakeCard){
		"Watch ends":       func(c *fakeCard) { c.broken <- errors.New("needs reset") },
		"a ring fails":     func(c *fakeCard) { c.fail(errors.New("ring")); c.fail(errors.New("again")) },
		"it hangs":         func(c *fakeCard) { c.queues[1].pending.Store(3) },
		"it ends silently": func(c *fakeCard) { c.broken <- nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newWatchRig(t, &fakeOpener{pairs: 2}, false)
				r.slot.Spread(2)
				pass(time.Minute)
				if n := len(r.opened); n != 1 {
					t.Fatalf("a card that works was opened %d times", n)
				}
				first := r.card()
				fail(first)
				pass(time.Minute)
				r.end()
				if len(r.opened) != 2 || first.closed != 1 || r.dirtyOpen != 0 || !slices.Equal(r.stops, []bool{false}) {
					t.Errorf("opened %d cards, the first was closed %d times, stops %v, dirty %d", len(r.opened), first.closed, r.stops, r.dirtyOpen)
				}
				if !slices.Equal(r.links, []bool{false, true}) || !slices.Equal(r.card().spread, []int{2}) {
					t.Errorf("links %v, spread %v", r.links, r.card().spread)
				}
				if st := r.slot.State(); !st.Working || st.Restarts != 1 {
					t.Errorf("state %+v", st)
				}
				if r.said("has failed") != 1 || r.said("works again") != 1 {
					t.Errorf("it said %v", r.logs.All())
				}
				if q := r.card().queues[0]; q.sent == 0 {
					t.Error("nothing is sent after the restart")
				}
			})
		})
	}
}

// A card of which nothing but ones can be read is tried for ever, ever more rarely, and works when it
// is back. What is the matter is said once for each thing that it is.
func TestRestartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchRig(t, &fakeOpener{pairs: 1}, false)
		tries := 0
		r.prepareWith(func(*fakeCard) error { tries++; return errors.New("all ones") })
		r.card().broken <- errors.New("gone")
		pass(time.Hour)
		if tries < 300 || tries > 400 {
			t.Errorf("tried %d times in an hour", tries)
		}
		if n := r.said("all ones"); n != 1 || r.said("trying again") != 1 {
			t.Errorf("said so %d times", n)
		}
		if st := r.slot.State(); st.Working || st.Restarts != 1 {
			t.Errorf("state %+v", st)
		}
		if r.stops[0] || !r.stops[1] || slices.Contains(r.stops[1:], false) {
			t.Errorf("was stopped hard: %v...", r.stops[:3])
		}
		r.prepareWith(nil)
		pass(2 * delayMost)
		r.end()
		if drops := r.slot.ports[0].Counters().Drops[virtionet.DropLinkDown]; drops == 0 {
			t.Error("what was sent meanwhile is not counted as dropped")
		}
		if !r.slot.State().Working || !slices.Equal(r.links, []bool{false, true}) {
			t.Errorf("it is back, but does not work; links %v", r.links)
		}
	})
}

// A card that fails again and again is restarted a thousand times and more, in the end once in
// delayMost; nothing accumulates. One that fails rarely is back at once.
func TestRestartsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchRig(t, &fakeOpener{pairs: 1, prepare: func(c *fakeCard) error {
			c.broken <- errors.New("again")
			return nil
		}}, false)
		pass(1010 * delayMost)
		if n := r.slot.State().Restarts; n < 1000 || n > 1100 {
			t.Errorf("%d restarts", n)
		}
		r.prepareWith(nil)
		pass(time.Hour)
		before := len(r.opened)
		for range 10 {
			r.card().broken <- errors.New("now and then")
			pass(delayFirst + time.Millisecond)
			if !r.slot.State().Working {
				t.Error("it is not back yet")
			}
			pass(worthwhile * delayMost)
		}
		r.end()
		if len(r.opened) != before+10 || r.dirtyOpen != 0 {
			t.Errorf("opened %d cards, dirty %d", len(r.opened)-before, r.dirtyOpen)
		}
		for i, c := range r.opened[:len(r.opened)-1] {
			if c.closed != 1 {
				t.Fatalf("card %d was closed %d times", i, c.closed)
			}
		}
	})
}

// What does not hang is left alone: a card that is slow, has nothing to do, or has no link.
func TestNoHang(t *testing.T) {
	for name, step := range map[string]func(r *watchRig, second int){
		"it is slow": func(r *watchRig, s int) {
			r.card().queues[0].pending.Store(1)
			r.card().queues[0].done.Store(int64(s / 9))
		},
		"nothing to do":      func(r *watchRig, s int) { r.card().queues[0].done.Store(9) },
		"it has no link":     func(r *watchRig, s int) { r.card().queues[0].pending.Store(7) },
		"a forwarder sleeps": func(r *watchRig, s int) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newWatchRig(t, &fakeOpener{pairs: 1}, name == "a forwarder sleeps")
				if name == "it has no link" {
					r.card().links <- false
				}
				for s := range 100 {
					pass(time.Second)
					step(r, s)
				}
				r.end()
				if n := len(r.opened); n != 1 {
					t.Errorf("it was restarted %d times: %v", n-1, r.logs.All())
				}
			})
		})
	}
}

// A forwarder that falls asleep while frames are in the card's hands is woken to look at them,
// and one with nothing there is not.
func TestSleepingForwarderTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOpener{pairs: 1, prepare: func(c *fakeCard) error { c.queues[0].pending.Store(4); return nil }}
		r := newWatchRig(t, o, true)
		o.prepareWith(nil)
		pass((hungLooks + 2) * lookEvery)
		used := r.card().queues[0].used.Load()
		pass(50 * lookEvery)
		idle := r.card().queues[0].used.Load() - used
		r.end()
		if len(r.opened) != 2 || r.said("hangs: 4 frames") != 1 {
			t.Errorf("opened %d cards, it said %v", len(r.opened), r.logs.All())
		}
		if idle != 0 {
			t.Errorf("an idle forwarder was woken: %d calls", idle)
		}
	})
}

// When the machine takes the device while it is being restarted, or stops, Run returns.
func TestRestartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchRig(t, &fakeOpener{pairs: 1}, false)
		r.prepareWith(func(*fakeCard) error { return errors.New("away") })
		r.card().broken <- errors.New("gone")
		pass(time.Minute)
		begin := time.Now()
		r.end()
		if d := time.Since(begin); d > delayMost || r.slot.Close() != nil {
			t.Errorf("it ended after %v", d)
		}
	})
}

// pass lets time pass, and all that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
