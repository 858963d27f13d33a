package mem

import "math/bits"

// index finds the last of a table's regions that begins at or below an address. The
// space between the first region's beginning and the last one's is cut into cells of
// equal size, several for each region, and of each cell is known which region its
// beginning is in. Guests' memory lies so that a cell mostly holds no more than one
// beginning: then what an address takes does not depend on the number of regions. Should
// a front-end crowd them into few cells, these are searched by halving: 509 regions, as
// many as one can have, take nine steps more at worst, and no layout takes more memory.
type index struct {
	base  GPA
	cells uint64
	shift uint8 // a cell has 1<<shift bytes
	// first is, for the beginning of each cell, the region that it is in or behind. The
	// last entry is the last region: it closes the last cell.
	first []uint16
}

// Bounds on the number of cells.
const (
	cellsEach = 8    // per region
	maxCells  = 4096 // 8 KiB: they are to stay in a core's own cache
)

// maxIndexed is the largest number of regions that an index can tell apart.
const maxIndexed = 1 << 16

// newIndex makes the index of regions, which are sorted: 1 to maxIndexed of them.
func newIndex(regions []Region) index {
	last := len(regions) - 1
	x := index{base: regions[0].GPA}
	cells := min(1<<bits.Len(uint(cellsEach*last)), maxCells)
	span := uint64(regions[last].GPA - x.base)
	x.shift = uint8(max(0, bits.Len64(span)-bits.Len(uint(cells-1))))
	cells = int(span>>x.shift) + 1
	x.first = make([]uint16, cells+1)
	i := 0
	for c := range cells {
		begins := x.base + GPA(c)<<x.shift
		for i < last && regions[i+1].GPA <= begins {
			i++
		}
		x.first[c] = uint16(i)
	}
	x.first[cells] = uint16(last)
	x.cells = uint64(cells)
	return x
}

// find returns the last region that begins at or below addr, or -1.
func (x *index) find(regions []Region, addr GPA) int {
	if addr < x.base {
		return -1
	}
	cell := uint64(addr-x.base) >> (x.shift & 63)
	if cell >= x.cells {
		return len(regions) - 1 // -1 if there are none
	}
	i := uint(x.first[cell])
	for n := uint(x.first[cell+1]) - i; n > 0; {
		half := (n + 1) / 2
		// Without a branch: which way it goes no one can predict.
		_, below := bits.Sub64(uint64(addr), uint64(regions[i+half].GPA), 0)
		i += half & (uint(below) - 1)
		n -= half
	}
	return int(i)
}
