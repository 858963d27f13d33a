package vring

import "unsafe"

// CopyOps copies the frames of ops to where they go, each after a header of head bytes, at
// most 12. Of the header the first 8 bytes are zero, and the next ones are word; a shorter
// header ends where the frame begins. It returns how many bytes the frames have.
//
// It is where guests' memory is read and written. If some of that has vanished it panics
// (debug.SetPanicOnFault), and as far as the rings are concerned nothing has happened.
func CopyOps(ops []Op, head int, word uint32) (total uint64) {
	if len(ops) == 0 {
		return 0
	}
	return copyOps(ops, uint64(head), word)
}

// copyPlainly is CopyOps for any processor. A burst's lines, asked for together, arrive
// almost together.
func copyPlainly(ops []Op, head uint64, word uint32) (total uint64) {
	prefetchSrc(&ops[0], len(ops))
	prefetchDst(&ops[0], len(ops))
	for i := range ops {
		op := &ops[i]
		total += uint64(op.N)
		to := pointer(op.Dst)
		*(*uint64)(to) = 0
		*(*uint32)(unsafe.Add(to, 8)) = word
		copy(unsafe.Slice((*byte)(unsafe.Add(to, head)), op.N), unsafe.Slice((*byte)(pointer(op.Src)), op.N))
	}
	return total
}

// pointer makes a pointer of an address that a ring has checked to lie in the memory of
// its guest, or that is of a DMA buffer. Neither is memory that Go moves or frees.
func pointer(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
