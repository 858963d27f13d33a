package netfwd

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/await"
)

// A sleeping loop is woken by a kick, by control or statistics through its own eventfd, and
// by nothing else: unless frames wait (longestWait) there is no look now and then. So no kick may get lost. What keeps it:
//
//   - The wish for kicks is written before the last look at a ring, with a fence between, by
//     enableKicks. A frame that came before is found by that look, one that comes later is
//     kicked for (vring.Device.EnableKicks, vring.Driver.EnableInterrupts).
//   - A kick counts an eventfd up, which stays readable until drain. It is drained before the
//     next look at the ring, never after.
//   - Through a socket, the eventfd is the front-end's own. When it hands over another one, or
//     starts a ring anew, control asks for a change of the port and wakes the loop, which looks at
//     all rings then. A front-end without one is polled (Polled).
//   - A device (vvudev, QEMU's fork, a NIC) raises an MSI-X vector. All vectors of a function
//     are enabled at once, before the first is given to a ring, and no other is enabled later,
//     so that none is ever without its eventfd. One that is masked for a moment, as Linux does
//     to move an interrupt to another CPU, is pending in the device (PCI 3.0, 6.8.2.9). A
//     device that has no vector for a kick drops it, or keeps it as vvudev does: the
//     driver gives vectors to all rings before a front-end is let in, and a ring that starts is looked at.
//   - Ports that cannot promise it say for how long one may sleep, as do those that have
//     something to do after a time, see Restless.

// longestNap bounds a sleep where a peer asked to be polled. A ring of 256 takes a frame each
// 200 ns meanwhile, and the processor is free for most of the time.
const longestNap = 50 * time.Microsecond

// longestWait bounds it while frames wait: for a time that comes, see group.waits, or for room, of which
// not every guest tells. U-Boot offers buffers without a kick, and looks for frames.
const longestWait = 100 * time.Millisecond

// longestBrief is how long a sleep may last in which the loop keeps its place in Go's
// scheduler, see await.Briefly. One that lasts longer goes on without. It is above the time between the frames
// of a trickle of 100 a second, and costs one signal by Go's monitor.
const longestBrief = 12 * time.Millisecond

// Wake makes a sleeping loop look around. Safe for concurrent use.
func (l *Loop) Wake() {
	unix.Write(l.wake, oneEvent) // a full counter is as good as a wake-up
}

// oneEvent is what an eventfd counts as one, on machines with their lowest byte first.
var oneEvent = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// sleep asks all ports for kicks and waits for one, at most for limit, unless something came
// up while asking.
func (l *Loop) sleep(limit time.Duration) {
	busy := l.ctx.Err() != nil || l.stats.due() || l.wanted.Load() != nil
	work := false
	l.poll = l.poll[:1] // our own eventfd stays
	for i, g := range l.groups {
		l.serving = i
		work = g.enableKicks() || work
		ports := g.members()
		l.poll = appendWakeFDs(l.poll, ports)
		limit = shorter(limit, longestOf(ports))
		if g.waits() || g.blocked() && !l.cfg.onKicksOnly {
			limit = shorter(limit, longestWait)
		}
	}
	if work {
		l.idle.kicked()
	}
	if !work && !busy {
		l.idle.sleeps()
		if l.await(limit) > 0 {
			l.drain()
		}
		l.idle.woke(time.Now())
	}
	for i, g := range l.groups {
		l.serving = i
		g.disableKicks()
	}
	l.clock.tick(false)
}

// longestOf is how long a loop may sleep that serves these ports.
func longestOf(ports []*member) time.Duration {
	if slices.ContainsFunc(ports, (*member).Polled) {
		return longestNap
	}
	limit := forever
	for _, p := range ports {
		limit = shorter(limit, p.LongestSleep())
	}
	return limit
}

// shorter is the shorter one of two sleeps, each of which may be for ever.
func shorter(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// await waits for a kick, and returns how many descriptors are readable.
func (l *Loop) await(limit time.Duration) (n int) {
	if limit >= 0 {
		await.OnTime() // vvufwd may have been started to be late (confine.Policy.Start)
	}
	brief := shorter(limit, longestBrief)
	if runtime.GOMAXPROCS(0) > 1 { // else no one could run meanwhile
		timeout, begin := unix.NsecToTimespec(brief.Nanoseconds()), time.Now()
		if n = await.Briefly(l.poll, &timeout); n > 0 || n == 0 && brief == limit {
			return n
		}
		// It was brief, or someone wants our place: on without it.
		if limit >= 0 {
			limit = max(0, limit-time.Since(begin))
		}
	}
	var timeout *unix.Timespec
	if limit >= 0 {
		t := unix.NsecToTimespec(limit.Nanoseconds())
		timeout = &t
	}
	n, _ = unix.Ppoll(l.poll, timeout, nil) // an error is a short sleep
	return n
}

// drain empties the eventfds that woke us, without waiting for one.
func (l *Loop) drain() {
	for i := range l.poll {
		if l.poll[i].Revents == 0 {
			continue
		}
		l.drainer.Drain(int(l.poll[i].Fd))
		if i > 0 {
			l.idle.kicked()
		}
	}
}
