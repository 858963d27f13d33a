package dma

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	hugePageSize = 2 << 20
)

// pageSource gets pages from the kernel; tests have their own.
type pageSource interface {
	// huge maps n bytes (a multiple of 2 MiB) of zeroed huge pages.
	huge(n int) ([]byte, error)
	// small maps n bytes (a multiple of 4 KiB) of zeroed pages.
	small(n int) ([]byte, error)
	release(mem []byte) error
}

type kernelPages struct{}

// huge takes pages of the reserved pool: the kernel sets all n bytes aside at
// once or fails, so touching them later cannot.
func (kernelPages) huge(n int) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE|unix.MAP_HUGETLB|unix.MAP_HUGE_2MB)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of 2 MiB pages: %w", n, err)
	}
	return keepFromChildren(mem)
}

// small takes ordinary pages and locks them where the limits allow it. Where they
// do not, the pages are still pinned by the mapping for the device.
func (kernelPages) small(n int) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of memory: %w", n, err)
	}
	_ = unix.Mlock(mem)
	return keepFromChildren(mem)
}

// keepFromChildren keeps private pages out of forked children. A child that
// shared them would turn our next write into a copy, and the device would go on
// using the page we no longer have.
func keepFromChildren(mem []byte) ([]byte, error) {
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		_ = unix.Munmap(mem)
		return nil, fmt.Errorf("keep device memory out of child processes: %w", err)
	}
	return mem, nil
}

func (kernelPages) release(mem []byte) error { return unix.Munmap(mem) }
