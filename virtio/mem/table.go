// Package mem turns addresses that a guest uses into bounds-checked views of
// its memory. It is the only way by which the rings reach memory that another
// VM can write.
package mem

import (
	"errors"
	"fmt"
	"sort"
)

// GPA is an address as it stands in a descriptor: a guest-physical address, or
// an IOVA when the guest's device sits behind an IOMMU. It is never a pointer.
type GPA uint64

// Region is one contiguous piece of guest memory.
type Region struct {
	GPA GPA    // address of Mem[0] in descriptors
	UVA uint64 // address of Mem[0] in the front-end's own address space (vring addresses); 0 if unused
	Mem []byte // the memory, mapped by the caller, who keeps it mapped while a Table with it is in use
}

// View returns the n bytes at addr, or false unless they lie in the region and n
// is not 0.
func (r *Region) View(addr GPA, n uint32) ([]byte, bool) {
	off, size := uint64(addr-r.GPA), uint64(len(r.Mem)) // off wraps to a huge number below the region
	if off >= size || uint64(n) > size-off || n == 0 {
		return nil, false
	}
	return r.Mem[off : off+uint64(n) : off+uint64(n)], true
}

// Table is an immutable set of regions. It is safe for concurrent use; whoever
// built it must not unmap a region before every user has released the Table.
type Table struct {
	regions []Region // sorted by GPA, not overlapping
	index   index
}

// Errors of New. They name what a front-end did wrong.
var (
	ErrEmpty   = errors.New("memory region is empty")
	ErrWrap    = errors.New("memory region wraps around the address space")
	ErrOverlap = errors.New("memory regions overlap")
	ErrMany    = errors.New("too many memory regions")
)

// New checks the regions and builds a Table of them. The slice is copied.
// Regions must not be empty, wrap around or overlap in guest-physical space.
// Overlap in front-end addresses is the protocol's business, not ours.
func New(regions []Region) (*Table, error) {
	if len(regions) > maxIndexed {
		return nil, fmt.Errorf("%d regions: %w of at most %d", len(regions), ErrMany, maxIndexed)
	}
	sorted := append([]Region(nil), regions...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].GPA < sorted[j].GPA })
	for i, r := range sorted {
		n := uint64(len(r.Mem))
		switch {
		case n == 0:
			return nil, fmt.Errorf("region at %#x: %w", r.GPA, ErrEmpty)
		case uint64(r.GPA)+n < n || r.UVA+n < n:
			return nil, fmt.Errorf("region at %#x: %w", r.GPA, ErrWrap)
		case i > 0 && uint64(r.GPA-sorted[i-1].GPA) < uint64(len(sorted[i-1].Mem)):
			return nil, fmt.Errorf("region at %#x: %w", r.GPA, ErrOverlap)
		}
	}
	t := &Table{regions: sorted}
	if len(sorted) > 0 {
		t.index = newIndex(sorted)
	}
	return t, nil
}

// Regions returns the regions in GPA order; the caller must not change them.
func (t *Table) Regions() []Region { return t.regions }

// View returns the n bytes at addr, or false unless they all lie in one region.
func (t *Table) View(addr GPA, n uint64) ([]byte, bool) {
	i := t.find(addr)
	if i < 0 {
		return nil, false
	}
	r := &t.regions[i]
	off := uint64(addr - r.GPA)
	if n > uint64(len(r.Mem))-off {
		return nil, false
	}
	return r.Mem[off : off+n : off+n], true
}

// Prefix returns the longest contiguous view that starts at addr, at most n
// bytes: all n, or up to the end of addr's region (a buffer may continue in the
// next region, which need not be adjacent in our address space), or nil when
// addr is not guest memory. last remembers the region hit between calls; it
// belongs to the caller and is empty at first, or one of this Table's regions.
func (t *Table) Prefix(addr GPA, n uint32, last *Region) []byte {
	off := uint64(addr - last.GPA)
	if off >= uint64(len(last.Mem)) {
		i := t.find(addr)
		if i < 0 {
			return nil
		}
		*last = t.regions[i]
		off = uint64(addr - last.GPA)
	}
	rest := last.Mem[off:]
	if uint64(n) < uint64(len(rest)) {
		return rest[:n:n]
	}
	return rest[:len(rest):len(rest)]
}

// Near makes *last the region that holds addr. If none does, *last stays as it is, and
// the result is false.
func (t *Table) Near(addr GPA, last *Region) bool {
	i := t.find(addr)
	if i < 0 {
		return false
	}
	*last = t.regions[i]
	return true
}

// FromUser translates n bytes at a front-end address (as SET_VRING_ADDR carries
// them) to a GPA, or false unless they all lie in one region.
func (t *Table) FromUser(uva uint64, n uint64) (GPA, bool) {
	for i := range t.regions {
		r := &t.regions[i]
		off := uva - r.UVA // wraps to a huge number below the region
		if size := uint64(len(r.Mem)); off < size && n <= size-off {
			return r.GPA + GPA(off), true
		}
	}
	return 0, false
}

// find returns the index of the region that holds addr, or -1.
func (t *Table) find(addr GPA) int {
	i := t.index.find(t.regions, addr)
	if i < 0 || uint64(addr-t.regions[i].GPA) >= uint64(len(t.regions[i].Mem)) {
		return -1
	}
	return i
}
