package guest

import (
	"sync/atomic"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Doorbell interrupts a guest. Ring must be cheap, must not block, and can be
// called from any goroutine.
type Doorbell interface{ Ring() }

// Queues is one state of a guest's queue pair. Control builds it and hands it
// over with Install; from then until the next Install returns, the rings in it
// belong to the forwarding goroutine. It is never changed.
type Queues struct {
	ToGuest   *vring.Device // the guest's receive ring; nil while it is stopped
	FromGuest *vring.Device // the guest's transmit ring; nil while it is stopped

	ToGuestCall   Doorbell // nil if the guest wants no interrupt for the ring
	FromGuestCall Doorbell

	// Not nil: the ring, which was installed before, lies there from now on.
	ToGuestPlace   *vring.Place
	FromGuestPlace *vring.Place

	// A ring that is started but disabled takes no frames to the guest, and
	// what the guest sends is consumed and dropped (vhost-user, "Ring states").
	ToGuestEnabled   bool
	FromGuestEnabled bool

	// Until then a ring that is stopped, disabled or never had a buffer is expected to be
	// of use again: frames for the guest wait for its receive ring, and what the guest has
	// sent stays in its transmit ring. After that, or if it is zero, frames are dropped.
	ToGuestAwaited   time.Time
	FromGuestAwaited time.Time

	// KickFDs are non-blocking eventfds that become readable when the guest kicks
	// one of the rings. They stay open until the next Install returns.
	KickFDs []int
	// Polled says that there are rings whose kicks cannot be heard.
	Polled bool

	// MTU is the largest packet in bytes, Ethernet header and VLAN tag not counted,
	// that the guest takes: a longer frame to it is dropped as too long. 0: no limit.
	MTU int

	// What the guest may leave undone in the frames that it sends, and what it accepts
	// unfinished. With neither, headers are not looked at and zero.
	Sends, Takes virtionet.Offloads

	// Where writes to guest memory are marked; nil while no one wants to know.
	ToGuestLog, FromGuestLog *vring.Logging

	// Filter is which frames the guest wants; nil: all.
	Filter *Filter

	HeaderLen int  // 10 or 12, see HeaderSize
	Mergeable bool // MRG_RXBUF: a frame may span several buffers

	// Announce is received once, as if the guest had sent it, if the guest's transmit ring
	// runs and is enabled. Nil: nothing.
	Announce *Announcement

	paused bool // see Pause
}

// maxFrame is the longest frame that the guest takes.
func (q *Queues) maxFrame() int {
	if q.MTU == 0 {
		return virtionet.MaxFrame
	}
	return virtionet.FrameOf(q.MTU)
}

// state is what the rings allow, buffers provided.
func (q *Queues) state() virtionet.State {
	switch {
	case q.ToGuest != nil && q.ToGuestEnabled:
		return virtionet.StateActive
	case q.ToGuest != nil || q.FromGuest != nil:
		return virtionet.StateSending
	}
	return virtionet.StateIdle
}

// Port is the back-end of another VM's virtio-net device, one queue pair.
//
// Install and Close belong to one control goroutine. All other methods belong to
// the goroutine that forwards, which must call Sync whenever Changed says so.
type Port struct {
	name   string
	onFail func(ring string, err error) // told once for each ring that breaks

	wake          func() // makes a sleeping forwarder look at Changed
	onStateChange func() // told when the state is another one
	state         atomic.Uint32
	wanted        atomic.Pointer[Queues]
	synced        chan struct{}
	gone          chan struct{} // closed when no one forwards any more

	cur      *Queues
	reported [2]bool // onFail was called for cur's ToGuest, FromGuest
	due      bool    // ours is to be received next; cur's FromGuest runs then, or is to come back soon
	counters virtionet.Counters
	work     uint64 // see Work
	early    bool   // the last Transmit ended for the work that it made, not for want of room

	closed  bool    // cur's ToGuest takes no frames: it is stopped, disabled, or bare
	bare    bool    // it would if the guest had ever offered a buffer
	muted   bool    // cur's FromGuest runs and is disabled
	patient [2]bool // cur's ToGuest, FromGuest are awaited still, as far as we looked

	// What the last rxFrames popped, in ring order: frames and, between them, drops. Both are counted when
	// they are given back, for until then they may go back to the ring and come again.
	heads    [virtionet.MaxBurst]uint16
	reason   [virtionet.MaxBurst]virtionet.Drop // of each; NumDrops: it is a frame
	taken    int                                // of heads
	given    int                                // of these, given back
	frameEnd [virtionet.MaxBurst]int            // of each frame, the number of heads up to it
	frameLen [virtionet.MaxBurst]int            // of each frame
	held     int                                // frames handed out
	released int                                // of these, released

	// For frames with offloads. Apart, so that what other frames take lies together; in is
	// large, and nil until the guest negotiates some.
	parser *virtionet.HeaderParser
	gso    *virtionet.SoftwareGSO

	sent [virtionet.MaxBurst]vring.Chain // what the last rxFrames popped
	ours *announcer                      // nil until it is needed
	room []vring.Chain                   // buffers for frames to the guest, see txBurst; at least MaxBurst

	batch batch // of plain frames

	unsettled   bool    // see Unsettled
	later       bool    // what was put into cur's ToGuest is published by Commit
	unsignalled [2]bool // something was published in cur's ToGuest, FromGuest since Notify
}

var stopped = &Queues{HeaderLen: virtionet.HeaderLen}

// New returns a Port without rings. onFail is called by the forwarder when
// a ring breaks; it must not block, nor log.
func New(name string, onFail func(ring string, err error)) *Port {
	return &Port{
		name: name, onFail: onFail, wake: func() {}, onStateChange: func() {},
		synced: make(chan struct{}), gone: make(chan struct{}),
		cur: stopped, closed: true, room: make([]vring.Chain, virtionet.MaxBurst), gso: &virtionet.SoftwareGSO{},
	}
}

// Name identifies the port in logs and counters.
func (g *Port) Name() string { return g.name }

// OnChange sets the function that wakes the forwarder; call it before the first
// Install.
func (g *Port) OnChange(wake func()) { g.wake = wake }

// OnStateChange sets the function that is told whenever State has changed and the forwarder
// has taken the rings over that made it change; call it before the first Install. It
// must not block.
func (g *Port) OnStateChange(onStateChange func()) { g.onStateChange = onStateChange }

// Install replaces the guest's queues and returns when the forwarder uses the
// new ones: from then on it touches neither the old rings nor their memory. What it holds
// of the transmit ring goes back there, not completed: the old ring's Position is the first
// frame that was not sent on, and whoever serves the buffers next takes them again.
//
// Nil says that the guest is gone, and that the next one may be another.
func (g *Port) Install(q *Queues) {
	if q == nil {
		q = stopped
	}
	before := g.State()
	g.wanted.Store(q)
	g.wake()
	select {
	case <-g.synced:
	case <-g.gone:
		g.state.Store(uint32(q.state()))
	}
	if g.State() != before {
		g.onStateChange()
	}
}

// Pause is Install for rings that are taken away and come back at once, in other memory
// perhaps: frames for the guest wait, and State stays what it was.
func (g *Port) Pause() {
	soon := time.Now().Add(pauseLimit)
	g.Install(&Queues{HeaderLen: virtionet.HeaderLen, ToGuestAwaited: soon, FromGuestAwaited: soon, paused: true})
}

// pauseLimit is how long frames wait for rings that do not come back from a Pause.
const pauseLimit = 10 * time.Second

// State is what the rings that were installed last allow, since the forwarder has them.
// Safe for concurrent use.
func (g *Port) State() virtionet.State { return virtionet.State(g.state.Load()) }

// Changed reports whether new queues wait. It is one load, for every round.
func (g *Port) Changed() bool { return g.wanted.Load() != nil }

// Sync takes over the new queues. What is held goes back to the ring that it came from;
// rxFrames hands it out again if that ring still runs. Sync reports whether the guest is
// gone: what waits for it is not for the next one. After Leave it takes none over: Install
// did not wait, so their memory may be gone already.
func (g *Port) Sync() (gone bool) {
	q := g.wanted.Load()
	if q == nil {
		return false
	}
	if g.left() {
		g.wanted.Store(nil)
		return false
	}
	g.takeBack() // old memory may have vanished: what is wanted stays so until nothing can fault
	g.Notify()
	if q.ToGuest != g.cur.ToGuest {
		g.reported[0] = false
	}
	if q.FromGuest != g.cur.FromGuest {
		g.reported[1] = false
	}
	if q.ToGuestPlace != nil {
		q.ToGuest.Move(q.ToGuestPlace)
	}
	if q.FromGuestPlace != nil {
		q.FromGuest.Move(q.FromGuestPlace)
	}
	if q.Sends != 0 && g.parser == nil {
		g.parser = &virtionet.HeaderParser{}
	}
	if q.Announce != nil {
		g.announce(q.Announce)
	}
	g.due = g.due && (q.paused || q.FromGuest != nil && q.FromGuestEnabled)
	before := g.cur.FromGuest
	g.cur = q
	g.checkTracking(before)
	q.setLogging()
	g.assess()
	g.DisableKicks()    // new memory may have vanished too: after Fail the next Sync gets past this
	g.wanted.Store(nil) // control waits, so nothing newer can be in it
	g.synced <- struct{}{}
	return q == stopped
}

// Leave says that no one forwards any more: Install no longer waits. It can be
// called again, if the guest's memory vanished under the first call.
func (g *Port) Leave() {
	g.takeBack()
	g.Notify()
	g.cur, g.due, g.unsettled = stopped, false, false
	g.assess()
	if !g.left() {
		close(g.gone)
	}
}

// left reports whether Leave was called.
func (g *Port) left() bool {
	select {
	case <-g.gone:
		return true
	default:
		return false
	}
}

// Fail stops the guest's rings, for a fault that cannot be pinned to
// one of them, such as memory that vanished.
func (g *Port) Fail(err error) {
	for _, q := range []*vring.Device{g.cur.ToGuest, g.cur.FromGuest} {
		if q != nil {
			q.Untrack()
			q.Rewind() // what was not given back is not said to be, see vring.Device.Position
			q.Fail(err)
		}
	}
	g.held, g.released, g.taken, g.given, g.later = 0, 0, 0, 0, false
	g.unsignalled, g.due = [2]bool{}, false
	g.checkFaults()
}

// Owns reports whether addr, an address of this process, lies in memory that the
// guest shares with us.
func (g *Port) Owns(addr uintptr) bool {
	for _, q := range []*vring.Device{g.cur.ToGuest, g.cur.FromGuest} {
		if q != nil && q.Owns(addr) {
			return true
		}
	}
	return false
}

// Recover brings the guest's rings back to order when a fault elsewhere broke a
// burst off: frames held are dropped, and buffers popped for frames that never
// came are offered again.
func (g *Port) Recover() {
	g.later = false
	g.abandon()
	if q := g.cur.ToGuest; q != nil {
		if q.Logged() {
			q.LogViews(virtionet.HeaderLen + virtionet.MaxFrame)
		}
		q.Rewind()
		g.complete(q)
	}
	g.Notify()
}

// Polled reports whether some of the guest's kicks cannot be heard, so that who sleeps has
// to look now and then.
func (g *Port) Polled() bool { return g.cur.Polled }

// WakeFDs are what a sleeping forwarder waits for.
func (g *Port) WakeFDs() []int { return g.cur.KickFDs }

// Counters are the port's counters, owned by the forwarder.
func (g *Port) Counters() *virtionet.Counters { return &g.counters }

// Work is how much it took so far to find buffers for frames, see netfwd.Laborious: two steps for each, and what those
// take that are not simple ones.
func (g *Port) Work() uint64 { return g.work }

// checkFaults reports each broken ring once.
func (g *Port) checkFaults() {
	for i, q := range []*vring.Device{g.cur.ToGuest, g.cur.FromGuest} {
		if q != nil && q.Err() != nil && !g.reported[i] {
			g.reported[i] = true
			g.counters.CountFault(q.Err())
			g.onFail([]string{"receive", "transmit"}[i], q.Err())
		}
	}
}

// DisableKicks asks the guest not to notify us while we poll.
func (g *Port) DisableKicks() {
	if q := g.cur.FromGuest; q != nil {
		q.DisableKicks()
	}
	if q := g.cur.ToGuest; q != nil {
		q.DisableKicks()
	}
}

// EnableKicks asks the guest to notify us when it sends a frame and, if forRoom
// is set, when it offers more receive buffers. It reports which of the two is
// there already, in which case no one may sleep.
func (g *Port) EnableKicks(forRoom bool) (frames, room bool) {
	if q := g.cur.FromGuest; q != nil {
		frames = q.EnableKicks() && !(g.muted && g.awaits(1, g.cur.FromGuestAwaited)) || g.due
	}
	if q := g.cur.ToGuest; q != nil && (forRoom || g.bare) {
		before := q.Pending() // buffers that were too little for the frame at hand
		room = q.EnableKicks() && q.Pending() > before || g.early
	}
	g.checkFaults() // a ring that was found broken by this look is not looked at again
	return frames, room
}

// complete publishes what was pushed to a ring.
func (g *Port) complete(q *vring.Device) {
	if !q.Publish() {
		return
	}
	if q == g.cur.ToGuest {
		g.unsignalled[0] = true
	} else {
		g.unsignalled[1] = true
	}
}

// Notify interrupts the guest for what was published since the last time, if the
// state of its rings asks for it. It comes once per round, not per burst: by then
// the stores of a burst are on their way, and waiting for them, which the
// decision takes, costs little.
func (g *Port) Notify() {
	if g.bare {
		g.lookForRoom()
	}
	if g.unsignalled[0] {
		g.signal(g.cur.ToGuest, g.cur.ToGuestCall)
	}
	if g.unsignalled[1] {
		g.signal(g.cur.FromGuest, g.cur.FromGuestCall)
	}
	g.unsignalled = [2]bool{}
}

func (g *Port) signal(q *vring.Device, call Doorbell) {
	if q.NeedSignal() && call != nil {
		call.Ring()
		g.counters.Interrupts++
	}
}
