//go:build race

package vring

import (
	"sync/atomic"
	"unsafe"
)

// The race detector does not see assembly, so under -race the same operations
// are made of sync/atomic. A compare-and-swap of the containing word keeps the
// other half as it is.

func storeRelease16(p *uint16, v uint16) {
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

func storeRelease32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

var fenceWord atomic.Uint32

func fullFence() { fenceWord.Add(0) }
