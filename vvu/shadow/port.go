package shadow

import (
	"sync/atomic"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/driver"
)

// Port is a netfwd.Port at the shadow side: a queue pair whose device is in the driver VM, while
// there is a session with it. It stays the same from session to session.
//
// install and what is above it belong to the session's goroutine, all else that is not said to be
// safe for concurrent use to the one that forwards.
type Port struct {
	name string
	owns func(addr uintptr) bool // whether an address lies in the shadow region

	wake          func() // makes a sleeping forwarder look at Changed
	onStateChange func()
	wanted        atomic.Pointer[queues]
	synced        chan struct{}
	gone          chan struct{} // closed when no one forwards any more
	state         atomic.Uint32
	over          atomic.Bool  // the session that cur is of is another app VM's
	awaited       atomic.Int64 // until then, in nanoseconds of the clock, frames wait for a first session; 0: they do not

	cur  *queues
	idle virtionet.Counters // while there is no queue pair, whose counters take their place
}

// queues is a queue pair, and who is told of its end.
type queues struct {
	*driver.Port // nil: none
	fail         func(error)
}

var none = &queues{}

func newPort(name string, owns func(uintptr) bool) *Port {
	return &Port{
		name: name, owns: owns, wake: func() {}, onStateChange: func() {}, cur: none,
		synced: make(chan struct{}), gone: make(chan struct{}),
	}
}

// OnChange sets the function that wakes the forwarder, and OnStateChange the one that is
// told whenever State has changed: it must not block. Call them before Run.
func (p *Port) OnChange(wake func())        { p.wake = wake }
func (p *Port) OnStateChange(change func()) { p.onStateChange = change }

// install gives the port another queue pair, or none (nil). When it returns the forwarder uses
// nothing of the one before any more.
func (p *Port) install(q *queues) {
	if q == nil {
		q = none
		p.setState(virtionet.StateIdle)
	}
	p.wanted.Store(q)
	p.wake()
	select {
	case <-p.synced:
	case <-p.gone:
	}
}

// cut ends the use of the session that there is, if any, or that is about to be installed: no frame passes any
// more, until open is called for another one. Whoever forwards may be in the midst of a burst. Both are safe for
// concurrent use.
func (p *Port) cut() { p.over.Store(true) }

// open is said of above.
func (p *Port) open() {
	p.over.Store(false)
	p.awaited.Store(0)
	p.wake() // what has waited can go
}

// serving reports whether frames pass.
func (p *Port) serving() bool { return p.cur.Port != nil && !p.over.Load() }

// await makes frames wait for the session of an app VM whose front-end has just connected: its guest
// may have been running already.
func (p *Port) await(patience time.Duration) { p.awaited.Store(time.Now().Add(patience).UnixNano()) }

// grace is how long they wait, if not told otherwise: longer than a driver VM that is there takes, and shorter
// than Linux waits before it takes a transmit queue for dead.
const grace = 3 * time.Second

// awaits reports whether frames still wait.
func (p *Port) awaits() bool {
	until := p.awaited.Load()
	if until != 0 && time.Now().UnixNano() >= until {
		p.awaited.CompareAndSwap(until, 0)
		return false
	}
	return until != 0
}

// LongestSleep bounds the sleep of a forwarder while frames may wait: some time they are to be dropped.
func (p *Port) LongestSleep() time.Duration {
	if p.awaited.Load() != 0 && !p.serving() {
		return awaitedLook
	}
	return -1
}

// awaitedLook is how often to look whether waiting is over.
const awaitedLook = 100 * time.Millisecond

// setState says what the queue pair is good for.
func (p *Port) setState(s virtionet.State) {
	if virtionet.State(p.state.Swap(uint32(s))) != s {
		p.onStateChange()
	}
}

// Name, Counters and the other methods implement netfwd.Port and what belongs to it.
func (p *Port) Name() string { return p.name }

// Counters are the port's, whatever the session.
func (p *Port) Counters() *virtionet.Counters {
	if p.cur.Port == nil {
		return &p.idle
	}
	return p.cur.Counters()
}

// Changed reports whether Sync has something to do. It is one load, for every round.
func (p *Port) Changed() bool { return p.wanted.Load() != nil }

// Sync takes over what was installed. Frames that were not released are lost with the memory that they
// are in. What waits to be sent is not given up: it is of the app VM that is there, for when that goes
// its own port says so.
func (p *Port) Sync() (gone bool) {
	q := p.wanted.Load()
	if q == nil {
		return false
	}
	if p.left() {
		p.wanted.Store(nil)
		return false
	}
	p.use(q)
	p.wanted.Store(nil) // who waits for us installs nothing newer meanwhile
	p.synced <- struct{}{}
	return false
}

// use makes q the queue pair that is served. Counters stay the port's.
func (p *Port) use(q *queues) {
	p.Recover() // what was not released is counted
	counters := *p.Counters()
	p.cur = q
	*p.Counters() = counters
	p.DisableKicks()
}

// Leave says that no one forwards any more: install no longer waits. It can be called again.
func (p *Port) Leave() {
	if !p.left() {
		close(p.gone)
	}
}

func (p *Port) left() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// State is what the queue pair is good for. Safe for concurrent use.
func (p *Port) State() virtionet.State { return virtionet.State(p.state.Load()) }

// Polled is false: a doorbell of the driver VM always arrives.
func (p *Port) Polled() bool { return false }

// Owns reports whether addr lies in the shadow region.
func (p *Port) Owns(addr uintptr) bool { return p.owns(addr) }

// Fail ends the session: something is wrong that is no one ring's fault.
func (p *Port) Fail(err error) {
	failed := p.cur
	p.idle, p.cur = *p.Counters(), none
	if failed.fail != nil {
		failed.fail(err)
	}
}

// Receive hands out what the driver VM has sent.
func (p *Port) Receive(b *virtionet.Burst) (worked bool) {
	if !p.serving() {
		return false
	}
	return p.cur.Receive(b)
}

// Release offers the frames' buffers to the driver VM again.
func (p *Port) Release(b *virtionet.Burst, first, end int) {
	if p.cur.Port != nil {
		p.cur.Release(b, first, end)
	}
}

// Transmit copies frames into the shadow region. Without a session they are dropped, unless the first one
// is to come soon.
func (p *Port) Transmit(b *virtionet.Burst, first, end int) (done int) {
	switch p.fate() {
	case pass:
		return p.cur.Transmit(b, first, end)
	case wait:
		return 0
	}
	p.Counters().Drops[virtionet.DropNoPeer] += uint64(end - first)
	return end - first
}

// fate is what becomes of frames for the driver VM.
type fate int

const (
	pass fate = iota
	wait
	drop
)

// fate looks twice whether frames pass: open ends their waiting after it has let them pass, and may do both between
// a first look and one at whether they wait.
func (p *Port) fate() fate {
	switch {
	case p.serving():
		return pass
	case p.awaits(), p.serving():
		return wait
	}
	return drop
}

// Notify kicks the driver VM if its rings ask for it.
func (p *Port) Notify() {
	if p.cur.Port != nil {
		p.cur.Notify()
	}
}

// Recover drops what is held.
func (p *Port) Recover() {
	if p.cur.Port != nil {
		p.cur.Recover()
	}
}

// EnableKicks asks the driver VM for doorbells, and DisableKicks asks it to spare them: they are exits
// of its virtual machine.
func (p *Port) EnableKicks(forRoom bool) (frames, room bool) {
	if !p.serving() {
		return false, false
	}
	return p.cur.EnableKicks(forRoom)
}

// DisableKicks is said of above.
func (p *Port) DisableKicks() {
	if p.cur.Port != nil {
		p.cur.DisableKicks()
	}
}

// WakeFDs are the eventfds that doorbells signal.
func (p *Port) WakeFDs() []int {
	if p.cur.Port == nil {
		return nil
	}
	return p.cur.WakeFDs()
}
