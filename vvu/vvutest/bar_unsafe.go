package vvutest

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// barMemory is BAR 2 of a Fork as the driver VM's processor sees it: memory
// regions of the front-end in their slots, and zeroes elsewhere. A new table
// changes what existing views show, as in a virtual machine.
type barMemory struct {
	mu    sync.Mutex
	whole []byte
	end   uint64 // of the last slot
	views map[*byte]int
}

const pageSize = 4096

func newBARMemory(t testing.TB, size uint64) *barMemory {
	t.Helper()
	whole, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	b := &barMemory{whole: whole, views: map[*byte]int{}}
	t.Cleanup(func() {
		if len(b.views) != 0 {
			t.Errorf("fork: %d mappings of the BAR are left", len(b.views))
		}
		unix.Munmap(whole)
	})
	return b
}

// view is what the driver maps.
func (b *barMemory) view(offset, size uint64) ([]byte, error) {
	n := uint64(len(b.whole))
	if size == 0 || offset%pageSize != 0 || size%pageSize != 0 || offset > n || size > n-offset {
		return nil, fmt.Errorf("mapping %#x bytes at %#x of a BAR of %#x: %w", size, offset, n, unix.EINVAL)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.whole[offset : offset+size : offset+size]
	if _, twice := b.views[&v[0]]; twice {
		return nil, fmt.Errorf("BAR is mapped at %#x already", offset)
	}
	b.views[&v[0]] = len(v)
	return v, nil
}

func (b *barMemory) release(v []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.views[&v[0]] != len(v) {
		return fmt.Errorf("unmapping what is not mapped: %w", unix.EINVAL)
	}
	delete(b.views, &v[0])
	return nil
}

// place shows the regions of a table by the fork's rule (contract, section 5):
// each file from its beginning on for offset+size bytes, slot after slot.
func (b *barMemory) place(table vhostuser.MemoryTable, files []int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := uint64(sharedMemoryAt)
	for i, r := range table {
		n := r.Offset + r.Size
		if n < r.Size || n == 0 {
			return fmt.Errorf("region %d wraps", i)
		}
		// What does not fit is clipped: the driver has to notice.
		if fits := uint64(len(b.whole)); slot%pageSize != 0 {
			return fmt.Errorf("region %d would start within a page, at %#x", i, slot)
		} else if slot < fits {
			if err := b.mapAt(slot, min(n, fits-slot), files[i], unix.MAP_SHARED); err != nil {
				return fmt.Errorf("region %d: %w", i, err)
			}
		}
		slot += n
	}
	if gap := min(b.end, uint64(len(b.whole))); gap > slot {
		at := (slot + pageSize - 1) &^ (pageSize - 1)
		if at < gap {
			if err := b.mapAt(at, gap-at, -1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
				return err
			}
		}
	}
	b.end = slot
	return nil
}

func (b *barMemory) mapAt(at, n uint64, fd, flags int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(&b.whole[at]), uintptr(n), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_FIXED)
	return err
}

// alignedHeap returns n zeroed bytes of the Go heap, aligned as rings need.
func alignedHeap(n int) []byte {
	words := make([]uint64, (n+7)/8+1)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & 15)
	return b[skip : skip+n : skip+n]
}
