package netfwd

import (
	"time"

	virtionet "vvufwd/virtio/net"
)

// Port is one queue pair of a device: frames arrive at it, and are sent through it. Every
// kind of port implements it in whole. What only some kinds can do is in the interfaces
// below, which the forwarder asks for once, before it serves the port.
//
// Frames travel as a Burst, so:
//
//	src.Receive(&b)                    // b describes what has arrived
//	n := dst.Transmit(&b, 0, b.Len())  // finds places, copies each frame once, publishes
//	src.Release(&b, 0, n)              // src may use their buffers again
//	...
//	src.Notify(); dst.Notify()         // once a round
//
// All methods are called by the one goroutine that forwards, per burst and never per frame:
// an interface costs nanoseconds a burst. They do not block, allocate, lock or log, and
// they touch memory that a peer shares only where said. While that goroutine is in a port's
// method memory may vanish under it: see Peer.
type Port interface {
	// Name identifies the port in logs and counters: "vvu:0000:00:05.0", and for the
	// second queue pair that with "/q1" appended. Safe for concurrent use.
	Name() string

	// Counters are the port's counters. The port counts: received frames and their bytes
	// (Counters.CountReceived does it in Release, for plain ones), sent ones (CountSent),
	// and what it drops, by reason. The forwarder adds to Drops what it drops itself.
	Counters() *virtionet.Counters

	// Receive fills b with the frames that came next, in their order, at most
	// virtionet.MaxBurst and each of virtionet.MinFrame to MaxFrame bytes, and is called only
	// when all that it has handed out before was released. It looks at the ring's index once.
	//
	// Plain frames, which is nearly all, are described where they lie: Burst.Reset, then
	// Burst.Add for each, and Burst.Inspect if the device may leave checksums undone. The
	// port keeps their buffers as they are, and may not count them yet: what is not
	// released comes again after Recover or Sync. A frame of another kind (an odd
	// chain, a header that lies) ends a run of plain ones; if it is the first, Receive fills b
	// with Frames instead (Burst.General), plain ones after it included. Both stay
	// valid until Release.
	//
	// Frames that lie about themselves are dropped and counted. worked reports whether
	// anything was taken, be it only to be dropped: that was the port's turn.
	Receive(b *virtionet.Burst) (worked bool)

	// Release gives the buffers of frames first to end-1 of b, as Receive filled it, back
	// to where they came from. They are the oldest not released yet.
	Release(b *virtionet.Burst, first, end int)

	// Transmit takes over frames first to end-1 of b, in their order, and returns with how
	// many it is done, sent or dropped. Fewer mean that there is no room now, or no one
	// for a moment, or, if it is some, perhaps only that the rest would be too much work
	// for one call, or is of another kind. Of a frame that is cut a part may have gone already. It waits for nothing.
	//
	// If b.Plain(): call Burst.SetDestination, give as many frames places as there is room
	// for (Dst and DstID of Burst.Ops), copy them (Burst.Copy), and only then change
	// anything in the ring and publish it: if the copy is interrupted because memory
	// vanished, nothing has happened. Counters.CountSent counts. Where a plain frame does not do, and if b is
	// not plain, Burst.Frames describes them in general, to be copied or, with
	// virtionet.SoftwareGSO, cut into what the device takes.
	//
	// The frames' memory is not written to. That of Frames themselves may be.
	Transmit(b *virtionet.Burst, first, end int) (done int)

	// Notify tells the device or the guest of all that was published since the last time, if
	// its ring asks for that. It comes at the end of each round that may have moved
	// something, and costs a load or two if there is nothing to tell.
	Notify()

	// Recover is called when a fault or a panic, at any port, has interrupted a burst, perhaps
	// in the midst of this port's methods. Frames handed out and not released are dropped
	// or come again, a Transmit that was not finished has not happened, and the
	// next call finds everything in order.
	Recover()
}

// Replaceable is a port whose rings control can replace or take away while it is served:
// a guest's, and those of a device that comes and goes. Changed is called each round.
type Replaceable interface {
	// Changed reports, at the cost of one load, that control waits for Sync.
	Changed() bool
	// Sync does what control wants. When it returns neither the old rings nor their
	// memory are touched any more. Frames handed out and not released stay in the old ring,
	// whose next one serves them: the forwarder forgets them before, see direction.settle.
	// It reports whether the peer is gone: what was meant for it is not for the next one.
	Sync() (gone bool)
	// Leave says that no one forwards any more, so that control does not wait. It can be
	// called again after a fault.
	Leave()
}

// Peer is a port with someone at the other end who shares its memory, starts and stops its
// rings, and may take the memory away at any time: a guest. Access to memory that vanished
// panics in the forwarder, see contain. A port whose rings and buffers are ours is none.
type Peer interface {
	// State is what the queue pair is good for now. Safe for concurrent use. Other ports
	// are virtionet.StateActive.
	State() virtionet.State
	// Polled says that the peer may do something without a kick: a sleeping loop looks for
	// itself now and then.
	Polled() bool
	// Owns reports whether addr, an address of this process, lies in memory that the peer
	// shares.
	Owns(addr uintptr) bool
	// Fail stops the port, because its memory vanished or for an error of ours, until its
	// peer starts its rings anew. It touches no shared memory. It replaces Recover.
	Fail(err error)
}

// Sleeper is a port that can wake a sleeping loop. A loop with a port that is none never sleeps
// for long.
type Sleeper interface {
	// EnableKicks asks for a wake-up when frames arrive and, if forRoom is set,
	// when room for frames appears. It reports which of the two is there already.
	EnableKicks(forRoom bool) (frames, room bool)
	// DisableKicks ends that: the loop looks for itself.
	DisableKicks()
	// WakeFDs are the non-blocking eventfds at which kicks arrive: a sleeping loop
	// waits for them and drains them. They may change whenever the port does. An epoll
	// instance will do too, for a port whose frames come through a descriptor that must not be
	// drained: nothing can be read from it, and it is readable for as long as there is something.
	WakeFDs() []int
}

// Laborious is a port whose peer chooses how much work it takes to find room for a frame.
type Laborious interface {
	// Work is how much that has taken so far, in the steps of vring.Device.Work. It grows in
	// Transmit.
	Work() uint64
}

// Restless is a port that a sleeping loop may have to look at though no kick comes: it has
// something to do after a time, or cannot promise that kicks do not get lost.
type Restless interface {
	// LongestSleep is how long to sleep at most before one looks, at this moment; negative:
	// without a limit.
	LongestSleep() time.Duration
}
