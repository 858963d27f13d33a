package intel

import (
	"sync/atomic"
	"unsafe"

	"vvufwd/vfio/dma"
)

// ring is descriptors in memory that the chip reads and writes. Positions count up for ever;
// size is a power of two. Words are in the order of the machines that there are: low byte first.
type ring struct {
	words []uint64 // two for each descriptor
	mask  uint32
	iova  dma.IOVA
}

func newRing(m dma.Memory, size int) ring {
	return ring{unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), 2*size), uint32(size - 1), m.IOVA}
}

// state is the second word of a descriptor, which the chip may write at any time. What the
// chip wrote before it, data included, is there.
func (r *ring) state(at uint32) uint64 { return atomic.LoadUint64(&r.words[2*(at&r.mask)+1]) }

// put writes a descriptor that the chip has not been given yet.
func (r *ring) put(at uint32, first, second uint64) {
	i := 2 * (at & r.mask)
	w := r.words[i : i+2 : i+2]
	w[0] = first
	atomic.StoreUint64(&w[1], second)
}
