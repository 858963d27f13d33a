package virtionet

import "unsafe"

// Copy writes the first n frames, each behind a new header, where WritePlain has found
// a place for them. It is the one place where guests' memory is read and written for
// plain frames. If some of that has vanished it panics (debug.SetPanicOnFault), and
// nothing has happened as far as the rings are concerned.
func (b *Burst) Copy(n int) {
	var bytes uint64
	head, second := uintptr(b.head), b.numBuffers
	for i := range b.ops[:n] {
		op := &b.ops[i]
		to := pointer(op.Dst)
		var first uint64
		if b.anyFlags {
			first = uint64(b.flags[i] & b.take)
		}
		// All of a header but what is in these places is zero. A legacy one is shorter,
		// and the frame overwrites what it has not.
		*(*uint64)(to) = first
		*(*uint32)(unsafe.Add(to, 8)) = second
		copy(unsafe.Slice((*byte)(unsafe.Add(to, head)), op.N), unsafe.Slice((*byte)(pointer(op.Src)), op.N))
		bytes += uint64(op.N)
	}
	b.bytes = bytes
}

// pointer makes a pointer of an address that a ring has checked to lie in the memory of
// its guest, or that is of a DMA buffer. Neither is memory that Go moves or frees.
func pointer(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// load64 reads 8 bytes there.
func load64(addr uint64) uint64 { return *(*uint64)(pointer(addr)) }

// addressOf is where a buffer lies.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
