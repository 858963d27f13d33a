package hostile

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Front-ends that leave after each message of their start.
func TestLeavingAtEveryStep(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before := f.census(t)
	for _, polite := range []bool{true, false} {
		for k := 0; ; k++ {
			a, err := newGuest(f.sockets[0], defaultFeatures)
			if err != nil {
				t.Fatal(err)
			}
			a.fill()
			script := a.script()
			if k > len(script) {
				a.leave()
				break
			}
			if polite { // it waits for answers
				err = a.play(script[:k])
			} else {
				for _, m := range script[:k] {
					if err = a.say(m.request, m.payload, m.fds...); err != nil {
						break
					}
				}
			}
			if err != nil {
				t.Fatalf("after %d messages: %v", k, err)
			}
			a.leave()
		}
		a := join(t, f.sockets[0])
		exchange(t, a, b)
		a.leave()
	}
	f.settled(t, before)
}

// reconnects has front-ends come and go in either order.
func reconnects(t *testing.T, f *forwarder, n int) {
	t.Helper()
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	exchange(t, a, b)
	before := f.census(t)
	for i := range n {
		if i%2 == 0 {
			a.leave()
			a = join(t, f.sockets[0])
		} else {
			b.leave()
			b = join(t, f.sockets[1])
		}
		if i%3 == 0 { // an orderly end, every now and then
			for k := range a.rings {
				if _, err := a.stop(k); err != nil {
					t.Fatal(err)
				}
			}
			a.leave()
			a = join(t, f.sockets[0])
		}
		exchange(t, a, b)
	}
	after := f.settled(t, before)
	t.Logf("%d reconnects: %v before, %v after", n, before, after)
	a.leave()
	b.leave()
}

// kills has front-ends killed while frames pass as fast as they can.
func kills(t *testing.T, f *forwarder, n int) {
	t.Helper()
	before := f.census(t)
	for range n {
		passed := f.stats.port(f.sockets[1]).TxPackets
		v := launchVictim(t, f.sockets[0], f.sockets[1], "--duration=100h")
		eventually(t, "frames pass", func() bool { return f.stats.port(f.sockets[1]).TxPackets > passed+1000 })
		v.kill()
		f.alive(t)
	}
	after := f.settled(t, before)
	t.Logf("%d kills under load: %v before, %v after", n, before, after)
}

// goroutines ends vvufwd and counts what it was running.
func goroutines(f *forwarder) int {
	f.end(unix.SIGQUIT)
	n := 0
	for _, line := range f.log.outside() {
		if strings.HasPrefix(line, "goroutine ") {
			n++
		}
	}
	f.expected = true
	return n
}

// atRest waits until vvufwd serves its ports and has nothing left to do: for a while the kernel
// hardly had to run it.
func (f *forwarder) atRest(t *testing.T) {
	t.Helper()
	eventually(t, "all ports are served", func() bool {
		return len(f.log.find(0, says("", "waiting for a front-end"))) >= len(f.sockets)
	})
	calm := 0
	eventually(t, "vvufwd comes to rest", func() bool {
		before := switches(t, f.pid())
		time.Sleep(50 * time.Millisecond)
		if calm++; switches(t, f.pid())-before > 2 {
			calm = 0
		}
		return calm >= 4
	})
}

// Nothing is left behind in the process when front-ends have gone.
func TestNoGoroutineIsLeft(t *testing.T) {
	fresh := startForwarder(t, 2, "--stats=500ms")
	fresh.atRest(t)
	want := goroutines(fresh)
	used := startForwarder(t, 2, "--stats=500ms")
	reconnects(t, used, cycles(t, 50, 1000))
	kills(t, used, cycles(t, 3, 20))
	eventually(t, "the last sessions end", func() bool {
		return len(used.log.find(0, says("", "front-end disconnected"))) > 0
	})
	used.atRest(t)
	if got := goroutines(used); got > want+1 || want == 0 { // a timer may have woken one
		t.Errorf("%d goroutines after front-ends came and went, %d in a fresh process", got, want)
	}
}

// SIGTERM while frames pass as fast as they can.
func TestStopUnderLoad(t *testing.T) {
	fastest := patience // others may keep the machine busy
	for range cycles(t, 2, 20) {
		f := startForwarder(t, 4)
		loads := []*victim{
			launchVictim(t, f.sockets[0], f.sockets[1], "--duration=100h"), launchVictim(t, f.sockets[2], f.sockets[3], "--duration=100h"),
		}
		eventually(t, "frames pass through both pairs", func() bool {
			return f.stats.port(f.sockets[1]).TxPackets > 1000 && f.stats.port(f.sockets[3]).TxPackets > 1000
		})
		start := time.Now()
		f.stop(t)
		fastest = min(fastest, time.Since(start))
		if p := f.stats.port(f.sockets[1]); p.TxPackets == 0 {
			t.Errorf("no totals: %+v", p)
		}
		for _, l := range loads {
			l.kill()
		}
	}
	if fastest > 3*time.Second {
		t.Errorf("it took %v", fastest)
	}
}
