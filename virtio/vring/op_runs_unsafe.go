package vring

import (
	"unsafe"
)

// The loops of the passes: each goes over neighbouring slots, which do not reach past the
// ring's end, and keeps what it needs in registers. A descriptor is two loads of a word.
// The first slot that is not plain, or not in the region hit last, ends a run; what was
// read of it is returned, so that it is not read again.

// word sets N, SrcID and DstID of an op at once.
func (op *Op) word(w uint64) { *(*uint64)(unsafe.Pointer(&op.N)) = w }

// readSlots makes ops of plain readable buffers in the slots of a packed ring from at on.
func (r packed) readSlots(ops []Op, at uint16, want uint64, w place, b bounds) (n int, rest uint64) {
	p, head := unsafe.Add(r.base, uintptr(at)*DescSize), uint64(b.head)
	for i := range ops {
		rest = loadRest(unsafe.Add(p, 8))
		if rest&plainMask != want || uint32(rest)-b.least > b.span {
			return i, rest
		}
		off := *(*uint64)(p) - w.gpa
		if off >= w.size || uint64(uint32(rest)) > w.size-off {
			return i, rest
		}
		op := &ops[i]
		op.Src, op.Dst = w.base+off+head, w.base+off
		op.word(rest&(1<<48-1) - head)
		p = unsafe.Add(p, DescSize)
	}
	return len(ops), 0
}

// writeSlots gives ops the plain writable buffers there. They hold frames of at most most
// bytes.
func (r packed) writeSlots(ops []Op, at uint16, want uint64, w place, head, most uint32) (n int, rest uint64) {
	p := unsafe.Add(r.base, uintptr(at)*DescSize)
	for i := range ops {
		op := &ops[i]
		rest = loadRest(unsafe.Add(p, 8))
		if rest&plainMask != want || uint32(rest) < head+op.N || op.N > most {
			return i, rest
		}
		off := *(*uint64)(p) - w.gpa
		if off >= w.size || uint64(uint32(rest)) > w.size-off {
			return i, rest
		}
		op.Dst, op.DstID = w.base+off, uint16(rest>>idShift)
		p = unsafe.Add(p, DescSize)
	}
	return len(ops), 0
}

// usedReads and usedWrites write used descriptors for ops into the slots from at on.
func (r packed) usedReads(ops []Op, at, flags uint16) {
	p, top := unsafe.Add(r.base, uintptr(at)*DescSize+8), uint64(flags)<<48
	for i := range ops {
		*(*uint64)(p) = uint64(ops[i].SrcID)<<idShift | top
		p = unsafe.Add(p, DescSize)
	}
}

func (r packed) usedWrites(ops []Op, at, flags uint16, head uint32) {
	p, top := unsafe.Add(r.base, uintptr(at)*DescSize+8), uint64(flags)<<48
	for i := range ops {
		*(*uint64)(p) = uint64(head+ops[i].N) | uint64(ops[i].DstID)<<idShift | top
		p = unsafe.Add(p, DescSize)
	}
}

// readEntries is readSlots for what the entries of an avail ring from at on name. What
// ended the run is to be looked at anew: an entry is no descriptor.
func (s *splitPlace) readEntries(ops []Op, at, size uint16, w place, b bounds) (n int) {
	p, table, head := unsafe.Pointer(s.avail.entry(at)), s.desc.base, uint64(b.head)
	for i := range ops {
		id := *(*uint16)(p)
		if id >= size {
			return i
		}
		d := (*[2]uint64)(unsafe.Add(table, uintptr(id)*DescSize))
		off, rest := d[0]-w.gpa, d[1]
		if uint16(rest>>32) != 0 || uint32(rest)-b.least > b.span || off >= w.size || uint64(uint32(rest)) > w.size-off {
			return i
		}
		op := &ops[i]
		op.Src, op.Dst = w.base+off+head, w.base+off
		op.word(uint64(uint32(rest)) - head | uint64(id)<<32)
		p = unsafe.Add(p, 2)
	}
	return len(ops)
}

// writeEntries is writeSlots for these.
func (s *splitPlace) writeEntries(ops []Op, at, size uint16, w place, head, most uint32) (n int) {
	p, table := unsafe.Pointer(s.avail.entry(at)), s.desc.base
	for i := range ops {
		op, id := &ops[i], *(*uint16)(p)
		if id >= size {
			return i
		}
		d := (*[2]uint64)(unsafe.Add(table, uintptr(id)*DescSize))
		off, rest := d[0]-w.gpa, d[1]
		if uint16(rest>>32) != DescWrite || uint32(rest) < head+op.N || op.N > most || off >= w.size || uint64(uint32(rest)) > w.size-off {
			return i
		}
		op.Dst, op.DstID = w.base+off, id
		p = unsafe.Add(p, 2)
	}
	return len(ops)
}

// usedReads and usedWrites write used elements for ops from at on, each with one store,
// which may not be aligned: the used ring is 4-aligned only.
func (u used) usedReads(ops []Op, at uint16) {
	p := unsafe.Add(u.base, 4+usedElem*uintptr(at&u.mask))
	for i := range ops {
		*(*uint64)(p) = uint64(ops[i].SrcID)
		p = unsafe.Add(p, usedElem)
	}
}

func (u used) usedWrites(ops []Op, at uint16, head uint32) {
	p := unsafe.Add(u.base, 4+usedElem*uintptr(at&u.mask))
	for i := range ops {
		*(*uint64)(p) = uint64(ops[i].DstID) | uint64(head+ops[i].N)<<32
		p = unsafe.Add(p, usedElem)
	}
}
