package vring

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Prefetches do not mind that memory is gone. To know what to ask for, prefetchHeads reads
// avail entries: gone, they fault as any access does, which whoever asks is ready for.
func TestPrefetchOfMemoryThatIsGone(t *testing.T) {
	const page = 4096
	b, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	there, gone := b[:page], b[page:]
	if err := unix.Mprotect(gone, unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	for i := range there {
		there[i] = byte(i * 11) // entries that name anything
	}
	const entries = page / 2
	prefetchHeads(unsafe.Pointer(&gone[0]), (*uint16)(unsafe.Pointer(&there[0])), 7, entries-1, entries)
	prefetchUsed(unsafe.Pointer(&gone[0]), 5, 63, 64)

	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		fault, ok := recover().(interface{ Addr() uintptr })
		if want := uintptr(unsafe.Pointer(&gone[0])); !ok || fault.Addr() != want {
			t.Errorf("panicked with %v, want a fault at %#x", fault, want)
		}
	}()
	// The entry before the border is read, and the one behind it not.
	prefetchHeads(unsafe.Pointer(&there[0]), (*uint16)(unsafe.Pointer(&there[page-2])), 0, 1, 2)
	t.Error("entries that are gone were read")
}
