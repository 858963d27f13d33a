package dma

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addressOf is where mem is in this process.
func addressOf(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// mapPages maps pages of a file side by side, in the order of the slice.
func mapPages(file *os.File, pages []page) ([]byte, error) {
	n := len(pages) * hugePageSize
	// Room for it at a multiple of the page size, and nothing else in it.
	room, err := unix.MmapPtr(-1, 0, nil, uintptr(n+hugePageSize), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of huge pages: %w", n, err)
	}
	head := int(-uintptr(room) % hugePageSize)
	start := unsafe.Add(room, head)
	for i, p := range pages {
		_, err := unix.MmapPtr(int(file.Fd()), int64(p.index)*hugePageSize, unsafe.Add(start, i*hugePageSize), hugePageSize,
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE)
		if err != nil {
			err = fmt.Errorf("map huge page %d of the DMA memory: %w", p.index, err)
			return nil, errors.Join(err, unix.MunmapPtr(room, uintptr(n+hugePageSize)))
		}
	}
	err = trim(room, uintptr(head))
	if err == nil {
		err = trim(unsafe.Add(start, n), uintptr(hugePageSize-head))
	}
	return unsafe.Slice((*byte)(start), n), err
}

// trim unmaps what was too much.
func trim(at unsafe.Pointer, n uintptr) error {
	if n == 0 {
		return nil
	}
	return unix.MunmapPtr(at, n)
}

// unmapPages undoes mapPages.
func unmapPages(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}
