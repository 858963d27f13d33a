package netfwd

import virtionet "vvufwd/virtio/net"

// Port is one end of a forwarding pair. All methods belong to the loop that
// serves the pair; Burst calls are per burst, so that the interface costs
// nanoseconds per burst, not per frame.
type Port interface {
	// Name identifies the port in logs and counters: "vvu:0000:00:05.0".
	Name() string

	// RxBurst hands out frames that arrived, views valid until Release. It is
	// not called while frames are held.
	RxBurst(frames []virtionet.Frame) int
	// Release gives back the oldest n frames handed out.
	Release(n int)
	// Abandon drops what is still held.
	Abandon()
	// TxBurst takes frames over by copying them and returns how many it is done
	// with, sent or dropped; fewer means that there is no room now.
	TxBurst(frames []virtionet.Frame) int

	// Changed says that control wants the port to change, which Sync then does.
	// Sync abandons what is held.
	Changed() bool
	Sync()
	// Fail tells the port that a fault struck the pair while it forwarded. The port
	// drops what is held; if the memory that faulted may be its peer's, it stands
	// still until the peer starts its rings anew.
	Fail(err error)
	// Leave says that the loop has ended.
	Leave()

	// EnableKicks asks for a wake-up when frames arrive and, if forRoom is set,
	// when room for frames appears. It reports which of the two is there already.
	EnableKicks(forRoom bool) (frames, room bool)
	DisableKicks()

	// Counters are the port's counters, to be read by the loop only.
	Counters() *virtionet.Counters

	// WakeFDs are the non-blocking eventfds at which kicks arrive: a sleeping loop
	// waits for them and drains them. They may change whenever the port does.
	WakeFDs() []int
}
