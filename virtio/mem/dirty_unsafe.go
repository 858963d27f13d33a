package mem

import (
	"sync/atomic"
	"unsafe"
)

// orWord sets bits of the little-endian 32-bit word at offset at of b, which is 4-aligned
// there and reaches so far. On the machines that we run on (amd64, arm64) it is a full
// barrier for what was written before, or at least a release.
func orWord(b []byte, at uint64, bits uint32) {
	word := b[at : at+4] // reads nothing: others write there
	atomic.OrUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(word))), bits)
}

// addressOf is where b lies in this process; 0 for nil.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// places are the regions by where they lie in this process.
func places(regions []Region) []placed {
	at := make([]placed, len(regions))
	for i, r := range regions {
		at[i] = placed{start: addressOf(r.Mem), size: uintptr(len(r.Mem)), gpa: r.GPA}
	}
	return at
}
