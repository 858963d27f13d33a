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
		return violate(m, "brings %d file descriptors for %d regions", len(m.FDs), len(table))
	}
	out.add(EffectMemory, 0)
	b.regions = nil
	if len(table) == 0 {
		return refuse(m, "the memory table is empty")
	}
	if err := b.checkRegions(table); err != nil {
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
		return violate(m, "brings %d file descriptors, want 1", len(m.FDs))
	}
	regions := append(slices.Clone(b.regions), MemoryRegion(r))
	if err := b.checkRegions(regions); err != nil {
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

// checkRegions accepts regions that can be translated without doubt.
func (b *Backend) checkRegions(regions []MemoryRegion) error {
	if len(regions) > b.cfg.MaxRegions {
		return fmt.Errorf("%d memory regions, at most %d are supported", len(regions), b.cfg.MaxRegions)
	}
	for i, r := range regions {
		switch {
		case r.Size == 0:
			return fmt.Errorf("region %v is empty", r)
		case r.GPA+r.Size < r.Size || r.UVA+r.Size < r.Size || r.Offset+r.Size < r.Size:
			return fmt.Errorf("region %v wraps around", r)
		}
		for _, other := range regions[:i] {
			if overlap(r.GPA, r.Size, other.GPA, other.Size) {
				return fmt.Errorf("regions %v and %v overlap in guest-physical addresses", other, r)
			}
			if overlap(r.UVA, r.Size, other.UVA, other.Size) {
				return fmt.Errorf("regions %v and %v overlap in user addresses", other, r)
			}
		}
	}
	return nil
}

// overlap reports whether two ranges that do not wrap share an address.
func overlap(a, aSize, b, bSize uint64) bool {
	return a < b+bSize && b < a+aSize
}
