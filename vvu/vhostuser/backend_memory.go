package vhostuser

import (
	"fmt"
	"slices"
)

// setMemTable replaces the memory table. A table that is refused leaves none:
// the virtio-vhost-user device has put the new regions in place of the old ones
// before we see the message (contract 5), so the old table describes nothing.
func (b *Backend) setMemTable(m Message, out *outcome) error {
	var table MemoryTable
	if err := table.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	if b.cfg.PassesFDs && len(m.FDs) != len(table) {
		return violate(m, "carries %d file descriptors for %d regions", len(m.FDs), len(table))
	}
	out.add(EffectMemory, 0)
	b.regions = nil
	if len(table) == 0 {
		return refuse(m, "the memory table is empty")
	}
	for i, r := range table {
		if err := b.checkRegion(table[:i], r); err != nil {
			return refuse(m, "%v", err)
		}
	}
	if err := b.checkTotal(table); err != nil {
		return refuse(m, "%v", err)
	}
	b.regions = table
	return nil
}

func (b *Backend) getMaxMemSlots(m Message, out *outcome) error {
	out.answer(m.Request, U64(b.cfg.MaxRegions))
	return nil
}

// addMemReg adds one region at the end of the table.
func (b *Backend) addMemReg(m Message, out *outcome) error {
	var r SingleRegion
	if err := r.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	if b.cfg.PassesFDs && len(m.FDs) != 1 {
		return violate(m, "carries %d file descriptors, want 1", len(m.FDs))
	}
	if err := b.checkRegion(b.regions, MemoryRegion(r)); err != nil {
		return refuse(m, "%v", err)
	}
	regions := append(slices.Clone(b.regions), MemoryRegion(r))
	if err := b.checkTotal(regions); err != nil {
		return refuse(m, "%v", err)
	}
	b.regions = regions
	out.add(EffectRegions, 0)
	return nil
}

// remMemReg removes the region with the addresses and the size given; its offset
// does not matter. Some front-ends send a file descriptor, which is not needed.
func (b *Backend) remMemReg(m Message, out *outcome) error {
	var r SingleRegion
	if err := r.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	i := slices.IndexFunc(b.regions, func(have MemoryRegion) bool {
		return have.GPA == r.GPA && have.Size == r.Size && have.UVA == r.UVA
	})
	if i < 0 {
		return refuse(m, "no region %v", MemoryRegion(r))
	}
	b.regions = slices.Delete(slices.Clone(b.regions), i, i+1)
	out.add(EffectRegions, 0)
	return nil
}

// checkRegion accepts a region that can be translated without doubt beside those that
// there are already.
func (b *Backend) checkRegion(regions []MemoryRegion, r MemoryRegion) error {
	switch {
	case len(regions) >= b.cfg.MaxRegions:
		return fmt.Errorf("more than the %d memory regions that are supported", b.cfg.MaxRegions)
	case r.Size == 0:
		return fmt.Errorf("region %v is empty", r)
	case r.GPA+r.Size < r.Size || r.UVA+r.Size < r.Size || r.Offset+r.Size < r.Size:
		return fmt.Errorf("region %v wraps around", r)
	}
	for _, other := range regions {
		if overlap(r.GPA, r.Size, other.GPA, other.Size) {
			return fmt.Errorf("regions %v and %v overlap in guest-physical addresses", other, r)
		}
		if overlap(r.UVA, r.Size, other.UVA, other.Size) {
			return fmt.Errorf("regions %v and %v overlap in user addresses", other, r)
		}
	}
	return nil
}

// checkTotal refuses more memory than one front-end may share. Mapping takes address space,
// of which all front-ends have the same, however little memory there is behind it.
func (b *Backend) checkTotal(regions []MemoryRegion) error {
	var total uint64
	for _, r := range regions {
		total += r.Size // cannot wrap: they do not overlap
	}
	if limit := b.cfg.MaxMemory; limit > 0 && total > limit {
		return fmt.Errorf("the front-end shares %d MiB in %d regions, more than the %d MiB that one may share: "+
			"raise --max-memory if its guest is meant to have so much", total>>20, len(regions), limit>>20)
	}
	return nil
}

// overlap reports whether two ranges that do not wrap share an address.
func overlap(a, aSize, b, bSize uint64) bool {
	return a < b+bSize && b < a+aSize
}
