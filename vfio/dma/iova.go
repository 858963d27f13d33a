package dma

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// preferredStart is where addresses are handed out from if the IOMMU allows
	// it: no device memory, firmware table or interrupt window of a PC is up there.
	preferredStart IOVA = 4 << 30

	// lowestStart keeps the null page and the rest of the first megabyte free, so
	// that a descriptor with a forgotten address faults instead of hitting memory.
	lowestStart IOVA = 1 << 20

	// 39 bits are the least an Intel IOMMU translates.
	defaultLast IOVA = 1<<39 - 1
)

// msiWindow is where x86 devices send their interrupts; a write there is never
// translated, whatever the IOMMU reports.
var msiWindow = Range{First: 0xfee0_0000, Last: 0xfeef_ffff}

// iovaSpace knows which addresses are in use. The zero value is empty. Not safe
// for concurrent use.
type iovaSpace struct {
	used []Range // sorted, disjoint
}

// take reserves size bytes within allowed, aligned to align (a power of two).
func (s *iovaSpace) take(allowed []Range, size uint64, align uint64) (IOVA, error) {
	if size == 0 {
		return 0, fmt.Errorf("no address range of zero bytes")
	}
	ranges := slices.Clone(allowed)
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for _, lowest := range []IOVA{preferredStart, lowestStart} {
		for _, r := range ranges {
			if at, ok := s.fit(r, lowest, size, align); ok {
				s.insert(Range{at, at + IOVA(size-1)})
				return at, nil
			}
		}
	}
	return 0, fmt.Errorf("no %d free bytes in the address space that the IOMMU translates (%v)", size, ranges)
}

// fit looks for the first free place in r that is not below lowest.
func (s *iovaSpace) fit(r Range, lowest IOVA, size, align uint64) (IOVA, bool) {
	at, ok := alignUp(max(r.First, lowest), align)
	for ok && at <= r.Last && uint64(r.Last-at) >= size-1 {
		hit, overlaps := s.overlap(Range{at, at + IOVA(size-1)})
		if !overlaps {
			return at, true
		}
		if hit.Last == ^IOVA(0) {
			return 0, false
		}
		at, ok = alignUp(hit.Last+1, align)
	}
	return 0, false
}

func (s *iovaSpace) overlap(r Range) (Range, bool) {
	if overlaps(r, msiWindow) {
		return msiWindow, true
	}
	for _, u := range s.used {
		if overlaps(r, u) {
			return u, true
		}
	}
	return Range{}, false
}

func (s *iovaSpace) insert(r Range) {
	i, _ := slices.BinarySearchFunc(s.used, r, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	s.used = slices.Insert(s.used, i, r)
}

// release gives back what take returned at first.
func (s *iovaSpace) release(first IOVA) {
	s.used = slices.DeleteFunc(s.used, func(r Range) bool { return r.First == first })
}

func overlaps(a, b Range) bool { return a.First <= b.Last && b.First <= a.Last }

// alignUp fails where the result would not fit in 64 bits.
func alignUp(a IOVA, align uint64) (IOVA, bool) {
	up := (uint64(a) + align - 1) &^ (align - 1)
	return IOVA(up), up >= uint64(a)
}

// DefaultRanges is what to assume of an IOMMU that does not tell which addresses
// it translates.
func DefaultRanges() []Range { return []Range{{First: 0, Last: defaultLast}} }
