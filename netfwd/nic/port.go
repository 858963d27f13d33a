package nic

import (
	"sync/atomic"
	"time"

	virtionet "vvufwd/virtio/net"
)

// port is a netfwd.Port whose queue pair can be replaced while a forwarder serves it. What
// it does not do itself the queue pair does; a call costs some nanoseconds a burst.
type port struct {
	Queue // the queue pair; its methods and the field belong to the forwarder

	name     string
	linkDown atomic.Bool

	wake   func() // makes a sleeping forwarder look at Changed
	wanted atomic.Pointer[Queue]
	asked  atomic.Bool // for told
	synced chan struct{}
	gone   chan struct{} // closed when no one forwards any more

	told atomic.Uint64 // progress that the forwarder told since the last look
}

func newPort(q Queue, up bool) *port {
	p := &port{Queue: q, name: q.Name(), wake: func() {}, synced: make(chan struct{}), gone: make(chan struct{})}
	p.linkDown.Store(!up)
	return p
}

// replace gives the port another queue pair, which no one forwards for. It returns when the
// forwarder uses it: from then on it touches nothing of the one before. Control calls it.
func (p *port) replace(with Queue, up bool) {
	if !up {
		p.linkDown.Store(true)
	}
	p.wanted.Store(&with)
	p.wake()
	select {
	case <-p.synced:
	case <-p.gone:
	}
	p.linkDown.Store(!up)
}

// Name is the first queue pair's.
func (p *port) Name() string { return p.name }

// Changed reports whether another queue pair waits. It is two loads, for every round.
func (p *port) Changed() bool {
	if p.asked.Load() {
		p.tell()
	}
	return p.wanted.Load() != nil
}

// tell tells control what the device has to do.
//
//go:noinline
func (p *port) tell() {
	p.asked.Store(false)
	p.told.Store(uint64(progressOf(p.InFlight())))
}

// EnableKicks is the queue pair's. A forwarder that falls asleep also tells what is left to do,
// and so is woken for it if need be. It does so last: InFlight takes back what was sent, and
// room that came before the queue pair was asked for a wake-up is what EnableKicks reports.
func (p *port) EnableKicks(forRoom bool) (frames, room bool) {
	frames, room = p.Queue.EnableKicks(forRoom)
	if pending, done := p.InFlight(); pending > 0 {
		p.told.Store(uint64(progressOf(pending, done)))
	}
	return frames, room
}

// LongestSleep is the queue pair's, or without a limit: its interrupts cannot get lost then.
func (p *port) LongestSleep() time.Duration {
	if q, ok := p.Queue.(interface{ LongestSleep() time.Duration }); ok {
		return q.LongestSleep()
	}
	return -1
}

// Sync takes over another queue pair. Frames that were not released are lost with the old one's
// memory. Frames for the NIC are not given up: the next one may take them.
func (p *port) Sync() (gone bool) {
	with := p.wanted.Load()
	if with == nil {
		return false
	}
	if p.left() {
		p.wanted.Store(nil)
		return false
	}
	p.Recover() // what was not released is counted
	counters := *p.Counters()
	p.Queue = *with
	*p.Counters() = counters // they are the port's
	p.DisableKicks()
	p.told.Store(0)
	p.wanted.Store(nil) // control waits, so nothing newer can be in it
	p.synced <- struct{}{}
	return false
}

// Leave says that no one forwards any more: replace no longer waits.
func (p *port) Leave() {
	if !p.left() {
		close(p.gone)
	}
}

// left reports whether Leave was called.
func (p *port) left() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Transmit is the queue pair's while there is a link.
func (p *port) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if p.linkDown.Load() {
		p.Counters().Drops[virtionet.DropLinkDown] += uint64(end - first)
		return end - first
	}
	return p.Queue.Transmit(b, first, end)
}
