package netfwd

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// longestSleep bounds a sleep, should a kick be lost on the way (a device that
// has no vector for it at that moment drops it).
const longestSleep = 100 * time.Millisecond

// longestNap bounds it where a peer asked to be polled. A ring of 256 takes a frame each
// 200 ns meanwhile, and the processor is free for most of the time.
const longestNap = 50 * time.Microsecond

// Wake makes a sleeping loop look around. Safe for concurrent use.
func (l *Loop) Wake() {
	unix.Write(l.wake, oneEvent) // a full counter is as good as a wake-up
}

// oneEvent is what an eventfd counts as one, on machines with their lowest byte first.
var oneEvent = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// sleep asks all ports for kicks and waits for one, unless something came up while
// asking. It reports whether it was a nap, for a peer that is polled: what has come then
// the next round finds.
func (l *Loop) sleep() (nap bool) {
	work := l.ctx.Err() != nil || l.stats.due() || l.wanted.Load() != nil
	l.poll = l.poll[:1] // our own eventfd stays
	longest := longestSleep
	for i, g := range l.groups {
		l.serving = i
		work = g.enableKicks() || work
		ports := g.members()
		l.poll = appendWakeFDs(l.poll, ports)
		if slices.ContainsFunc(ports, (*member).Polled) {
			longest = longestNap
		}
	}
	nap = longest == longestNap && !work
	if !work {
		timeout := unix.NsecToTimespec(longest.Nanoseconds())
		n, _ := unix.Ppoll(l.poll, &timeout, nil) // an error is a short sleep
		if n > 0 {
			l.drain()
			nap = false
		}
	}
	for i, g := range l.groups {
		l.serving = i
		g.disableKicks()
	}
	l.clock.tick(false)
	return nap
}

// drain empties the eventfds that woke us, without waiting for one.
func (l *Loop) drain() {
	for i := range l.poll {
		if l.poll[i].Revents != 0 {
			l.drainer.Drain(int(l.poll[i].Fd))
		}
	}
}
