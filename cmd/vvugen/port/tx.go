package port

import "golang.org/x/sys/unix"

// Tx is the transmit queue of a port (ring 1). One goroutine owns it.
//
// A burst is: Room, then Next as often as wanted, each frame written before
// Flush. Settle is due within microseconds to milliseconds of a Flush.
type Tx struct {
	ring    ring
	buffers []byte // of all slots, headers included
	stride  int
	frame   int // bytes of a frame, the same for all
	kick    int // eventfd
	inOrder bool

	completed uint64 // frames that the device has given back
	kicks     uint64
}

// reapBelow bounds how long completions are left alone: reading them late, many
// at once, costs fewer cache line transfers than one look per burst.
const reapBelow = 64

// Room returns how many frames can be sent, at most want. Completed buffers are
// collected first when few are free.
func (t *Tx) Room(want int) int {
	if free := t.ring.free(); free < want || free < reapBelow {
		t.Reap()
	}
	return min(want, t.ring.free())
}

// Reap collects the buffers that the device has finished with.
func (t *Tx) Reap() {
	r := &t.ring
	n := r.look()
	if n == 0 {
		return
	}
	if t.inOrder {
		r.skip()
		t.completed += uint64(n)
		return
	}
	for {
		if _, _, ok := r.take(); !ok {
			return
		}
		t.completed++
	}
}

// Next returns the next free buffer and its frame: shared memory, to be written
// only. It holds what was written last into this buffer. Room has said that there
// is one.
func (t *Tx) Next() (slot int, frame []byte) {
	slot = int(t.ring.next())
	return slot, t.frameOf(slot)
}

func (t *Tx) frameOf(slot int) []byte {
	off := slot*t.stride + cacheLine
	return t.buffers[off : off+t.frame : off+t.frame]
}

// Flush shows all frames from Next to the device, with a kick if it wants one.
func (t *Tx) Flush() {
	if t.ring.published == t.ring.nextAvail {
		return
	}
	t.ring.publish()
	if t.ring.needKick() {
		t.kicks++
		notify(t.kick)
	}
}

// Settle makes sure that a device which fell asleep at the wrong moment hears of
// what Flush has shown. Call it every now and then.
func (t *Tx) Settle() {
	if t.ring.mustKick() {
		t.kicks++
		notify(t.kick)
	}
}

// Each calls fn with the frame of every buffer, to be filled before the first
// burst.
func (t *Tx) Each(fn func(slot int, frame []byte)) {
	for i := range int(t.ring.mask) + 1 {
		fn(i, t.frameOf(i))
	}
}

// Size is the number of buffers.
func (t *Tx) Size() int { return int(t.ring.mask) + 1 }

// Completed is the number of frames that the device has given back.
func (t *Tx) Completed() uint64 { return t.completed }

// Outstanding is the number of frames that the device holds.
func (t *Tx) Outstanding() int { return int(t.ring.published - t.ring.nextUsed) }

// Kicks is the number of notifications sent.
func (t *Tx) Kicks() uint64 { return t.kicks }

// Err is the fault of the device that stopped the ring, or nil.
func (t *Tx) Err() error { return t.ring.fault }

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// notify adds one to an eventfd. It is non-blocking, and one whose counter is
// full wakes its reader anyway, so the result says nothing.
func notify(fd int) { _, _ = unix.Write(fd, one) }
