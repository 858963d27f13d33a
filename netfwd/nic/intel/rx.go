package intel

import (
	"math/bits"

	"vvufwd/vfio/mmio"
	virtionet "vvufwd/virtio/net"
)

// receiver is the receive ring. Its descriptors are used in order, and each has its own
// buffer: [back, next) are in our hands, and what comes after, all but one of the ring, is
// the chip's.
type receiver struct {
	ring
	buffers
	tail mmio.Space
	size uint32
	lot  uint32 // descriptors that are given back are told of in lots of at least so many

	back, next uint32
	told       uint32 // back, when the chip was told last

	swappedTags bool // see QueueConfig

	most     int  // bytes of a frame
	parts    int  // buffers that the longest takes
	skipping bool // the rest of a frame that is too long

	// What the last rxFrames took: for each frame where the buffers end that go back with it.
	ends     [virtionet.MaxBurst]uint32
	held     int // frames handed out
	released int // of these, given back
	views    [][]byte
	tags     [virtionet.MaxBurst][4]byte // VLAN tags that go back into frames
}

func (r *receiver) init(size, maxFrame int, tail mmio.Space) {
	r.size, r.most, r.tail = uint32(size), maxFrame, tail
	r.lot = uint32(min(size/8, 32))
	r.parts = (maxFrame + BufferSize - 1) / BufferSize
	r.views = make([][]byte, 0, 2*virtionet.MaxBurst+size)
}

// start gives all buffers but one to the chip: with head and tail equal it would have none.
func (r *receiver) start() {
	for at := range r.size {
		r.arm(at)
	}
	r.back, r.next = 0, 0
	r.told = 1 // not what it was told: nothing
	r.tell()
}

func (r *receiver) arm(at uint32) { r.put(at, r.buffers.target(at), 0) }

// give gives the chip the buffers up to a position back.
func (r *receiver) give(end uint32) {
	for ; r.back != end; r.back++ {
		r.arm(r.back)
	}
}

// owed is how many the chip has not been told of.
func (r *receiver) owed() uint32 { return r.back - r.told }

// tell tells it of all, and reports whether there were any.
func (r *receiver) tell() bool {
	if r.told == r.back {
		return false
	}
	r.told = r.back
	r.tail.Store32(0, (r.back-1)&r.ring.mask)
	return true
}

// look reads the state of the n-th descriptor that is not in our hands, or returns 0 if the
// chip is not done with it, or was not given it.
func (r *receiver) look(n uint32) uint64 {
	if r.next+n-r.back >= r.size-1 {
		return 0
	}
	if w := r.state(r.next + n); w&rxDone != 0 {
		return w
	}
	return 0
}

// ready reports whether something has arrived.
func (r *receiver) ready() bool { return r.look(0) != 0 }

// length is what of a buffer the chip has filled; more than there is of it is a lie.
func length(w uint64) int { return int(uint16(w >> rxLenShift)) }

// rxFrames is Receive for frames that are not plain, and those after them.
func (q *Queue) rxFrames(frames []virtionet.Frame) int {
	r := &q.rx
	r.views = r.views[:0]
	r.held, r.released = 0, 0
	limit := min(len(frames), virtionet.MaxBurst)
	for r.held < limit && q.take(&frames[r.held]) {
		r.ends[r.held] = r.next
		r.held++
	}
	q.counters.RxPackets += uint64(r.held)
	if r.held == 0 {
		r.give(r.next) // only what was dropped
	}
	return r.held
}

// take takes the next frame out of as many buffers as it has, or returns false if none has
// arrived as a whole. What is broken is dropped on the way.
func (q *Queue) take(f *virtionet.Frame) bool {
	r := &q.rx
	for {
		n, total, bad, last := r.measure()
		if n == 0 {
			return false
		}
		first := r.next
		r.next += uint32(n)
		switch {
		case bad || r.skipping:
			if r.skipping = last&rxEnd == 0; !r.skipping {
				q.counters.Drops[virtionet.DropBadFrame]++
			}
		case total < virtionet.MinFrame:
			q.counters.Drops[virtionet.DropRunt]++
		case total > r.most:
			q.counters.Drops[virtionet.DropTooLong]++
		case q.voices != nil && q.voices.echoes(r.buffers.bytes(first)):
			// Voices count it: no one has lost a frame.
		default:
			f.Header = virtionet.Header{}
			if sumsRight(last) {
				f.SetValid()
			}
			f.Len = total
			f.Data = r.gather(first, n, total, last)
			if last&rxTagged != 0 {
				f.Len += len(r.tags[0])
			}
			q.counters.RxBytes += uint64(f.Len)
			return true
		}
	}
}

// measure looks at the buffers of the next frame: how many there are, how many bytes are in
// them, whether what the chip says of them cannot be, and the state of the last. None if the
// end has not arrived. Of a frame with more buffers than any can have those that are there.
func (r *receiver) measure() (n, total int, bad bool, last uint64) {
	for n < r.parts || r.skipping {
		if last = r.look(uint32(n)); last == 0 {
			if r.skipping {
				break // what has arrived goes
			}
			return 0, 0, false, 0
		}
		n++
		size := length(last)
		bad = bad || size > BufferSize || size == 0 || last&rxErrors != 0
		total += size
		if last&rxEnd != 0 {
			return n, total, bad, last
		}
		bad = bad || size != BufferSize // all but the last are full
	}
	return n, total, true, last
}

// gather makes views of the n buffers of a frame, with its VLAN tag put back where it was.
func (r *receiver) gather(at uint32, n, total int, last uint64) [][]byte {
	from := len(r.views)
	for range n {
		size := min(total, BufferSize)
		r.views = append(r.views, r.buffers.bytes(at)[:size])
		total -= size
		at++
	}
	if last&rxTagged != 0 {
		tag := &r.tags[r.held]
		vlan := uint16(last >> rxVLANShift)
		if r.swappedTags && last&rxLoopback != 0 {
			vlan = bits.ReverseBytes16(vlan)
		}
		*tag = [4]byte{0x81, 0x00, byte(vlan >> 8), byte(vlan)}
		head := r.views[from]
		r.views = append(r.views, nil, nil)
		copy(r.views[from+3:], r.views[from+1:])
		r.views[from], r.views[from+1], r.views[from+2] = head[:virtionet.AddressBytes], tag[:], head[virtionet.AddressBytes:]
	}
	return r.views[from:len(r.views):len(r.views)]
}

// release gives the buffers of the oldest k held frames back to the chip.
func (q *Queue) release(k int) {
	r := &q.rx
	r.released += k
	switch {
	case r.released == r.held:
		r.give(r.next) // with what was dropped after the last frame
	case r.released > 0:
		r.give(r.ends[r.released-1])
	}
}

// abandon drops the frames that are still held.
func (q *Queue) abandon() {
	if left := q.rx.held - q.rx.released; left > 0 {
		q.counters.Drops[virtionet.DropStopped] += uint64(left)
		q.release(left)
	}
	q.rx.held, q.rx.released = 0, 0
}
