package vring_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// reserve returns n bytes of address space that costs no memory and cannot be
// touched: enough for a region that is only ever looked up.
func reserve(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatalf("reserve %d bytes of address space: %v", n, err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Errorf("unmap: %v", err)
		}
	})
	return b
}
