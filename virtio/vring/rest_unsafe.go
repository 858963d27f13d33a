//go:build !race

package vring

import (
	"sync/atomic"
	"unsafe"
)

// loadRest loads, with acquire, the second word of a descriptor of a packed ring, which p
// points at: length, id, and flags on top.
func loadRest(p unsafe.Pointer) uint64 { return atomic.LoadUint64((*uint64)(p)) }
