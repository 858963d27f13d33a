package netfwd

import (
	"context"
	"sync"
	"testing"
	"time"

	"vvufwd/virtio/net/guest"
)

// napping returns a loop of each kind of group, about to sleep, and what makes it do so.
func napping(t *testing.T) map[string]*Loop {
	t.Helper()
	loops := map[string]*Loop{}
	add := func(name string, l *Loop, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		l.ctx = context.Background()
		loops[name] = l
	}
	port := func() Port { return &fakePort{name: "p", room: -1} }
	l, err := joinLoop([]Port{port(), port()}, Config{CPU: -1})
	add("a pair", l, err)
	several := newPair(port(), port())
	for range 3 {
		d := newDirection(newMember(port()))
		several.addIdle(d)
		several.secondary = append(several.secondary, d.src.Port)
	}
	l, err = newLoop([]group{several, newPair(port(), port())}, Config{CPU: -1})
	add("lanes with queue pairs that are idle", l, err)
	guests := [2]*syncEnd{newSyncEnd(t), newSyncEnd(t)}
	for _, g := range guests {
		g.install(nil, func(q *guest.Queues) { q.KickFDs = []int{-1, -1} })
	}
	l, err = joinLoop([]Port{guests[0], guests[1]}, Config{CPU: -1})
	add("guests", l, err)
	s, _ := newQueuesSwitch(t, 4, 2)
	l, err = newLoop([]group{s}, Config{CPU: -1})
	add("a switch", l, err)
	return loops
}

// A loop that sleeps and is woken allocates nothing, nor does one that answers whoever
// collects statistics.
func TestNapsDoNotAllocate(t *testing.T) {
	for name, l := range napping(t) {
		t.Run(name, func(t *testing.T) {
			nap := func() {
				l.Wake() // so that it does not last
				l.sleep(forever)
			}
			if n := testing.AllocsPerRun(100, nap); n != 0 {
				t.Errorf("%v allocations a nap", n)
			}
			answer := func() {
				l.stats.asked.Add(1)
				if !l.stats.due() {
					t.Fatal("no answer is due")
				}
				l.stats.answer(l.describe)
			}
			if n := testing.AllocsPerRun(100, answer); n != 0 {
				t.Errorf("%v allocations an answer", n)
			}
		})
	}
}

// Several can collect at the same time, from a loop that polls, sleeps or has ended. What
// it says last is how far it came.
func TestCollectTogether(t *testing.T) {
	a, b := &fakePort{name: "a", room: -1}, &fakePort{name: "b", room: -1}
	l, err := joinLoop([]Port{a, b}, Config{CPU: -1, IdleAfter: 50 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { l.Run(ctx) })
	for deadline := time.Now().Add(10 * time.Second); Collect([]*Loop{l}).Loops[0].Rounds == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the loop does not answer")
		}
	}
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			var before uint64
			for range 50 {
				s := Collect([]*Loop{l})
				if now := s.Loops[0].Rounds; now < before || len(s.Ports) != 2 {
					t.Errorf("%d rounds after %d", now, before)
				} else {
					before = now
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	asking.Wait()
	cancel()
	run.Wait()
	rounds, fastest := l.clock.rounds, time.Hour // others may keep the machine busy
	for range 10 {
		begin := time.Now()
		if got := Collect([]*Loop{l}).Loops[0].Rounds; got != rounds {
			t.Errorf("%d rounds at the end, want %d", got, rounds)
		}
		fastest = min(fastest, time.Since(begin))
	}
	if fastest >= answerTime {
		t.Errorf("waited %v for a loop that has ended", fastest)
	}
}
