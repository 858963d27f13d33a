//go:build race

package vring

import (
	"sync/atomic"
	"unsafe"
)

// The race detector joins a load with the store that it has seen only if both are of the
// same address, and the word's upper half is what its owner stores with release. So under
// -race the halves are loaded one after the other: the length, which the other side may
// be writing if the flags turn out to say that the descriptor is its own, comes second.
func loadRest(p unsafe.Pointer) uint64 {
	state := atomic.LoadUint32((*uint32)(unsafe.Add(p, 4)))
	return uint64(state)<<32 | uint64(peek32(p))
}

// peek32 loads what is thrown away if the other side is writing it.
//
//go:norace
func peek32(p unsafe.Pointer) uint32 { return *(*uint32)(p) }
