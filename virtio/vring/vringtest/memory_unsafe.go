package vringtest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is n bytes that a ring can lie in, but no device can reach.
func Memory(n int) []byte { return heap(n) }

// heap returns n zeroed bytes at a 16-aligned address, inside the Go heap so
// that the race detector sees accesses and synchronisation.
func heap(n int) []byte {
	words := make([]uint64, (n+7)/8+1)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & 15)
	return b[skip : skip+n : skip+n]
}

// offHeap returns n zeroed bytes of anonymous memory, as a mapped BAR or a
// front-end's RAM is to the program, until the test ends.
func offHeap(t TB, n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatalf("map %d bytes of test memory: %v", n, err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Fatalf("unmap test memory: %v", err)
		}
	})
	return b
}
