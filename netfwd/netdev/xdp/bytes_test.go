package xdp

import "unsafe"

// bytesOf is memory that is aligned as rings are.
func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}
