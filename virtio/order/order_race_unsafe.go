//go:build race

package order

import (
	"sync/atomic"
	"unsafe"
)

// The race detector does not see assembly, so under -race the same operations
// are made of sync/atomic. A compare-and-swap of the containing word keeps the
// other half as it is.

// StoreRelease16 stores v at p after every earlier load and store.
func StoreRelease16(p *uint16, v uint16) {
	addr := unsafe.Pointer(p)
	shift := uint(uintptr(addr)&2) * 8
	word := (*uint32)(unsafe.Pointer(uintptr(addr) &^ 2))
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}

// StoreRelease32 is StoreRelease16 for a whole word.
func StoreRelease32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

var fenceWord atomic.Uint32

// Fence orders everything before it with everything after it.
func Fence() { fenceWord.Add(0) }
