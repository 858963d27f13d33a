package port

import (
	"unsafe"

	"vvufwd/virtio/vring"
)

// sharedRing is typed access to the three parts of a ring in shared memory.
type sharedRing struct {
	desc [][2]uint64 // address, then length, flags and next; written before the ring starts

	availWord *uint32  // flags and idx: we write, the device reads
	entries   []uint16 // we write
	usedEvent *uint16  // we write, once

	usedWord   *uint32  // flags and idx: the device writes
	elements   []uint64 // id and len: the device writes
	availEvent *uint32  // the device writes the low half; the rest is padding of ours
}

// newSharedRing points into mem, in which p has been placed. Placement aligns
// every part; that is asserted by its test.
func newSharedRing(mem []byte, p placement, n int) sharedRing {
	avail := mem[p.avail : p.avail+vring.AvailBytes(n)]
	used := mem[p.used : p.used+vring.UsedBytes(n)+2]
	return sharedRing{
		desc:       unsafe.Slice((*[2]uint64)(unsafe.Pointer(&mem[p.desc])), n),
		availWord:  (*uint32)(unsafe.Pointer(&avail[0])),
		entries:    unsafe.Slice((*uint16)(unsafe.Pointer(&avail[4])), n),
		usedEvent:  (*uint16)(unsafe.Pointer(&avail[4+2*n])),
		usedWord:   (*uint32)(unsafe.Pointer(&used[0])),
		elements:   unsafe.Slice((*uint64)(unsafe.Pointer(&used[4])), n),
		availEvent: (*uint32)(unsafe.Pointer(&used[4+8*n])),
	}
}

// tailOf is where descriptor i of a packed ring has its length, and its id and flags.
func (s *sharedRing) tailOf(i int) (length, state *uint32) {
	words := (*[2]uint32)(unsafe.Pointer(&s.desc[i][1]))
	return &words[0], &words[1]
}

// address is where mem lies in our address space, the vhost-user "user address".
func address(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&mem[0]))) }

// newTable is an indirect table of n descriptors at an offset of mem.
func newTable(mem []byte, at, n int) [][2]uint64 {
	b := mem[at : at+vring.TableBytes(n)]
	return unsafe.Slice((*[2]uint64)(unsafe.Pointer(&b[0])), n)
}
