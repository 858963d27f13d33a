package vring

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedWords maps memory as a peer's memory is mapped: outside the Go heap,
// where the race detector sees neither accesses nor synchronisation. What the
// fence tests show there is the work of the processor alone.
func sharedWords(t *testing.T, bytes int) unsafe.Pointer {
	t.Helper()
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatalf("map %d bytes: %v", bytes, err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Errorf("unmap: %v", err)
		}
	})
	return unsafe.Pointer(&b[0])
}

// half is the 16-bit field at byte off of shared memory.
func half(base unsafe.Pointer, off int) *uint16 { return (*uint16)(unsafe.Add(base, off)) }

// bytesOf is the memory of words, which the Go heap aligns for ring use.
func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
}
