package port

import (
	"sync/atomic"

	"vvufwd/virtio/order"
	"vvufwd/virtio/vring"
)

// A packed ring (virtio 2.8) has one descriptor for each position. Its address is that
// of the slot that the position belongs to; length, id and flags are written each time,
// for the device has put its own there.

// preparePacked writes the addresses of all buffers, which are stride apart from first
// on, and that we poll.
func (r *ring) preparePacked(first uint64, stride int) {
	r.flags = uint32(vring.EventDisable) << 16 // of the driver's event area
	r.base, r.stride = first, uint64(stride)
	for i := range r.order {
		r.order[i] = uint16(i)
		r.shared.desc[i][0] = first + uint64(i)*r.stride
	}
	atomic.StoreUint32(r.shared.availWord, r.flags)
}

// wrap is the wrap counter at a position: 1 on even laps. Sizes are powers of two of at
// most 32768, so laps stay even or odd where positions wrap.
func (r *ring) wrap(pos uint16) uint16 { return pos/(r.mask+1)&1 ^ 1 }

// tail is length, id and flags of the descriptor at a position, available.
func (r *ring) tail(pos uint16) uint64 {
	flags := vring.DescUsed
	if r.wrap(pos) == 1 {
		flags = vring.DescAvail
	}
	if r.writable != 0 {
		flags |= vring.DescWrite
	}
	return uint64(r.length) | uint64(r.order[pos&r.mask])<<32 | uint64(flags)<<48
}

// publishPacked writes descriptors. The device looks at them in the order of the ring,
// so it sees none of them before the first.
func (r *ring) publishPacked() {
	first := r.published
	if first == r.nextAvail {
		return
	}
	for pos := first; pos != r.nextAvail; pos++ {
		at := pos & r.mask
		if r.reordered {
			r.shared.desc[at][0] = r.base + uint64(r.order[at])*r.stride
		}
		if pos != first {
			r.shared.desc[at][1] = r.tail(pos)
		}
	}
	tail := r.tail(first)
	length, state := r.shared.tailOf(int(first & r.mask))
	*length = uint32(tail)
	order.StoreRelease32(state, uint32(tail>>32))
	r.published = r.nextAvail
}

// lookPacked is look.
func (r *ring) lookPacked() int {
	if r.fault != nil {
		return 0
	}
	for r.seenUsed != r.published {
		_, state := r.shared.tailOf(int(r.seenUsed & r.mask))
		flags := uint16(atomic.LoadUint32(state) >> 16)
		wrap := r.wrap(r.seenUsed)
		if flags&(vring.DescAvail|vring.DescUsed) != wrap*(vring.DescAvail|vring.DescUsed) {
			break
		}
		r.seenUsed++
	}
	return int(r.seenUsed - r.nextUsed)
}

// needKickPacked is needKick.
func (r *ring) needKickPacked() bool {
	event := atomic.LoadUint32(r.shared.usedWord)
	flags := uint16(event>>16) & 3
	if flags != vring.EventDesc || !r.eventIdx {
		return flags != vring.EventDisable
	}
	size := int(r.mask) + 1
	behind := int(r.published&r.mask) - int(event&0x7fff)
	if uint16(event>>15)&1 != r.wrap(r.published) {
		behind += size
	}
	moved := int(r.published - r.kickedAt)
	if moved <= size && (behind <= 0 || behind > moved) {
		return false // kickedAt stays, as in needKick
	}
	r.kickedAt = r.published
	return true
}
