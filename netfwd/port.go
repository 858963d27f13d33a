package netfwd

import virtionet "vvufwd/virtio/net"

// Port is one queue pair of one end of a link, or of a port of a switch. All methods
// but State belong to the loop that serves it; Burst calls are per burst, so that the
// interface costs nanoseconds per burst, not per frame.
type Port interface {
	// Name identifies the port in logs and counters: "vvu:0000:00:05.0", and with
	// "/q1" behind it the second queue pair.
	Name() string

	// State is what the queue pair is good for now. Safe for concurrent use.
	State() virtionet.State

	// RxBurst hands out frames that arrived, views valid until Release. It is
	// not called while frames are held.
	RxBurst(frames []virtionet.Frame) int
	// Release gives back the oldest n frames handed out.
	Release(n int)
	// Abandon drops what is still held.
	Abandon()
	// TxBurst takes frames over by copying them and returns how many it is done
	// with, sent or dropped; fewer means that there is no room now, or nobody for a
	// moment, or, if it is some, that the rest would be too much work for one call. It may change the frames'
	// headers.
	TxBurst(frames []virtionet.Frame) int

	// Notify tells the port's peer of all that was published since the last time, if
	// it wants to know. It comes at the end of each round.
	Notify()

	// Changed says that control wants the port to change, which Sync then does. What is
	// held goes back to where it came from: RxBurst hands it out again, if it still can.
	// Sync reports whether the peer is gone: another one may take what is transmitted
	// from now on.
	Changed() bool
	Sync() (gone bool)
	// Owns reports whether addr, an address of this process, lies in memory that the
	// port's peer shares, which is memory that can vanish.
	Owns(addr uintptr) bool
	// Fail puts the port out of order, because its memory vanished or for an error of
	// ours, until its peer starts its rings anew. It touches no shared memory.
	Fail(err error)
	// Recover brings the port back to order when a fault elsewhere broke a burst
	// off: what is held is dropped, what was begun is taken back.
	Recover()
	// Leave says that the loop has ended.
	Leave()

	// EnableKicks asks for a wake-up when frames arrive and, if forRoom is set,
	// when room for frames appears. It reports which of the two is there already.
	EnableKicks(forRoom bool) (frames, room bool)
	DisableKicks()
	// Polled says that the port's peer may do something without a kick: a sleeping loop
	// looks for itself now and then.
	Polled() bool

	// Counters are the port's counters, to be read by the loop only.
	Counters() *virtionet.Counters

	// WakeFDs are the non-blocking eventfds at which kicks arrive: a sleeping loop
	// waits for them and drains them. They may change whenever the port does.
	WakeFDs() []int
}
