package port

import "unsafe"

// asBytes views words as bytes; heap memory aligned for a ring.
func asBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
}
