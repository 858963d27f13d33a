package device

import (
	"unsafe"

	"go.uber.org/zap"
)

var nopLog = zap.NewNop()

// bytesOf is the same memory as bytes; that it was made of words aligns it.
func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
}
