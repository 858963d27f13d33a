package port

import (
	"sync/atomic"

	"vvufwd/virtio/order"
	"vvufwd/virtio/vring"
)

const (
	noInterrupt = 1 // avail.flags: we poll
	noNotify    = 1 // used.flags: the device polls
)

// ring is the driver side of a ring with one descriptor, or one indirect table, per
// buffer, all written before the ring starts. vring.Driver can do more; this one exists
// because a generator must not be slower than what it measures: in the steady state it
// writes avail.idx of a split ring and nothing else. Packed rings: ring_packed.go.
//
// Every slot (buffer and descriptor of the same number) is in the private order
// at all times. Position p of the ring, modulo its size, belongs to slot
// order[p]: slots from nextUsed to published are with the device, those after
// are free, in the order in which they are offered again. A device that completes
// in order leaves order, and so the avail ring, as it is. One that does not makes
// us look for the slot among those it holds and swap, which at the same time is
// the check that it holds it.
//
// One goroutine owns it. avail.flags is ours, so avail.idx is published with its
// whole word.
type ring struct {
	shared sharedRing
	packed bool
	length uint32 // of a packed ring: of its buffers
	base   uint64 // address of the first
	stride uint64 // between them
	order  []uint16
	mask   uint16 // size-1

	nextAvail uint16 // position to offer next
	published uint16 // avail.idx as the device sees it
	nextUsed  uint16 // position of the next completion
	seenUsed  uint16 // used.idx as of the last look
	kickedAt  uint16 // avail.idx up to which the device's wish for a kick is settled
	checkedAt uint16 // avail.idx at the last mustKick

	writable  uint32 // bytes a device may write into a buffer; 0: it reads them
	flags     uint32 // our avail.flags
	eventIdx  bool
	reordered bool // order has changed: avail entries must be written
	fault     error
}

// ringMode is what negotiation decided about a ring.
type ringMode struct {
	eventIdx bool
	indirect bool
	packed   bool
}

// newRing prepares a ring; the device must not have seen it. base is the
// guest-physical address of mem. Buffers hold bytes octets from headerAt on.
func newRing(mem []byte, p placement, n int, base uint64, bytes int, write bool, mode ringMode) ring {
	r := ring{
		shared: newSharedRing(mem, p, n), order: make([]uint16, n), mask: uint16(n - 1),
		eventIdx: mode.eventIdx, flags: noInterrupt, packed: mode.packed, length: uint32(bytes),
	}
	if write {
		r.writable = uint32(bytes)
	}
	if mode.packed {
		r.preparePacked(base+uint64(p.buffers+headerAt), p.stride)
		return r
	}
	if mode.eventIdx {
		// The flag is reserved then. used_event stays where it is: an interrupt
		// each 65536 buffers goes to an eventfd that no one reads.
		r.flags = 0
		*r.shared.usedEvent = 0xffff
	}
	for i := range n {
		r.order[i], r.shared.entries[i] = uint16(i), uint16(i)
		addr := base + uint64(p.buffers+i*p.stride+headerAt)
		r.shared.desc[i] = r.descriptor(mem, p, i, base, addr, bytes, mode)
	}
	atomic.StoreUint32(r.shared.availWord, r.flags)
	return r
}

// descriptor describes buffer i at addr, through an indirect table if wanted.
func (r *ring) descriptor(mem []byte, p placement, i int, base, addr uint64, bytes int, mode ringMode) [2]uint64 {
	var flags uint16
	if r.writable != 0 {
		flags = vring.DescWrite
	}
	if !mode.indirect {
		return encode(addr, bytes, flags, 0)
	}
	at := p.indirect + i*vring.TableBytes(indirectParts)
	table := newTable(mem, at, indirectParts)
	table[0] = encode(addr, Header, flags|vring.DescNext, 1)
	table[1] = encode(addr+Header, bytes-Header, flags, 0)
	return encode(base+uint64(at), vring.TableBytes(indirectParts), vring.DescIndirect, 0)
}

func encode(addr uint64, bytes int, flags, next uint16) [2]uint64 {
	return [2]uint64{addr, uint64(uint32(bytes)) | uint64(flags)<<32 | uint64(next)<<48}
}

// free is how many slots can be offered.
func (r *ring) free() int { return int(r.mask) + 1 - int(r.nextAvail-r.nextUsed) }

// next offers a free slot; its buffer must be filled before publish. The caller
// has made sure that there is one.
func (r *ring) next() (slot uint16) {
	at := r.nextAvail & r.mask
	slot = r.order[at]
	if r.reordered && !r.packed {
		r.shared.entries[at] = slot
	}
	r.nextAvail++
	return slot
}

// publish shows all offered slots to the device.
func (r *ring) publish() {
	if r.packed {
		r.publishPacked()
		return
	}
	order.StoreRelease32(r.shared.availWord, r.availWord())
	r.published = r.nextAvail
}

func (r *ring) availWord() uint32 { return r.flags | uint32(r.nextAvail)<<16 }

// needKick says, after publish, whether the device wants to be notified. Its "no"
// can be out of date: the device may have fallen asleep while our store was on
// its way. mustKick, called now and then, sees to that.
func (r *ring) needKick() bool {
	if r.packed {
		return r.needKickPacked()
	}
	if !r.eventIdx {
		return atomic.LoadUint32(r.shared.usedWord)&noNotify == 0
	}
	if !r.crossed() {
		return false // kickedAt stays: mustKick looks at these slots again
	}
	r.kickedAt = r.published
	return true
}

// mustKick is needKick with a fence (2.7.13.4.1): its "no" is final for all that
// has been published.
func (r *ring) mustKick() bool {
	if r.checkedAt == r.published {
		return false
	}
	r.checkedAt = r.published
	// Storing the word again, now as an atomic operation, orders the store before
	// the load in needKick on amd64 and arm64.
	word := r.flags | uint32(r.published)<<16
	if r.packed {
		word = r.flags
	}
	atomic.StoreUint32(r.shared.availWord, word)
	need := r.needKick()
	r.kickedAt = r.published
	return need
}

func (r *ring) crossed() bool {
	event := uint16(atomic.LoadUint32(r.shared.availEvent))
	return r.published-event-1 < r.published-r.kickedAt
}

// look loads used.idx (acquire) and returns how many slots can be taken.
func (r *ring) look() int {
	if r.packed {
		return r.lookPacked()
	}
	idx := uint16(atomic.LoadUint32(r.shared.usedWord) >> 16)
	if idx-r.nextUsed > r.published-r.nextUsed {
		r.fail(vring.FaultUsedIndex)
		return 0
	}
	r.seenUsed = idx
	return int(idx - r.nextUsed)
}

// take returns the next slot that the last look saw, and what the device says
// it wrote. A false element faults the ring.
func (r *ring) take() (slot uint16, n uint32, ok bool) {
	if r.nextUsed == r.seenUsed {
		return 0, 0, false
	}
	at := r.nextUsed & r.mask
	var id uint32 // read once; look ordered it
	if r.packed {
		tail := r.shared.desc[at][1]
		id, n = uint32(uint16(tail>>32)), uint32(tail)
	} else {
		element := r.shared.elements[at]
		id, n = uint32(element), uint32(element>>32)
	}
	if id != uint32(r.order[at]) && !r.reorder(id) {
		return 0, 0, false
	}
	if n > r.writable {
		if r.writable != 0 {
			r.fail(vring.FaultUsedLen)
			return 0, 0, false
		}
		n = 0 // some devices report what they read, against 2.7.8.2
	}
	r.nextUsed++
	return uint16(id), n, true
}

// skip takes all slots that the last look saw without reading elements, which
// is enough with IN_ORDER where nothing was written (2.7.9).
func (r *ring) skip() { r.nextUsed = r.seenUsed }

// reorder finds id among the slots that the device holds and moves it to the
// front; an id that it does not hold faults the ring.
//
//go:noinline
func (r *ring) reorder(id uint32) bool {
	front := r.nextUsed & r.mask
	for p := r.nextUsed; p != r.published; p++ {
		if at := p & r.mask; uint32(r.order[at]) == id {
			r.order[front], r.order[at] = r.order[at], r.order[front]
			r.reordered = true
			return true
		}
	}
	r.fail(vring.FaultUsedID)
	return false
}

// fail keeps the first fault and hides what has not been taken.
func (r *ring) fail(fault error) {
	if r.fault == nil {
		r.fault = fault
	}
	r.seenUsed = r.nextUsed
}
