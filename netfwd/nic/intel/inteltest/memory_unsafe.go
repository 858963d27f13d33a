package inteltest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
)

// Memory hands out memory that a chip reaches: an intel.Allocator. Addresses begin where no
// pointer is.
type Memory struct {
	pieces []dma.Memory
	next   dma.IOVA
	Fail   int // the allocation that fails, counted from 1; 0: none
	count  int
}

// Alloc returns zeroed memory.
func (m *Memory) Alloc(size, align int) (dma.Memory, error) {
	if m.count++; m.count == m.Fail {
		return dma.Memory{}, fmt.Errorf("allocation %d: %w", m.count, unix.ENOMEM)
	}
	if m.next == 0 {
		m.next = 5 << 32
	}
	bytes := make([]byte, size+align)
	skip := -int(uintptr(unsafe.Pointer(&bytes[0]))) & (align - 1)
	piece := dma.Memory{Bytes: bytes[skip : skip+size : skip+size], IOVA: (m.next + dma.IOVA(align) - 1) &^ dma.IOVA(align-1)}
	m.next = piece.IOVA + dma.IOVA(size) + 1<<20 // with a gap: who runs over the end is found
	m.pieces = append(m.pieces, piece)
	return piece, nil
}

// at is n bytes at an address, or nil if they are not all in one piece.
func (m *Memory) at(addr uint64, n int) []byte {
	for _, p := range m.pieces {
		off := addr - uint64(p.IOVA)
		if off < uint64(len(p.Bytes)) && uint64(n) <= uint64(len(p.Bytes))-off {
			return p.Bytes[off : off+uint64(n)]
		}
	}
	return nil
}
