package vring

import "unsafe"

// memoryAlign is what the strictest area of a ring needs (virtio 2.7, 2.8).
const memoryAlign = 16

// Memory is n bytes of zeroed memory that a ring can lie in, but no device can reach: for a
// driver's ring without a device.
func Memory(n int) []byte {
	b := make([]byte, n+memoryAlign)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (memoryAlign - 1)
	return b[skip : skip+n : skip+n]
}
