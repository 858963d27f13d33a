package vvu

import (
	"errors"
	"fmt"

	"vvufwd/virtio/mem"
	"vvufwd/vvu/vhostuser"
)

// peerMemory is the front-end's memory as the BAR shows it.
type peerMemory struct {
	table *mem.Table
	maps  [][]byte
	unmap func([]byte) error
}

const page = 4096

// slots computes where in the BAR each region's first byte lies. The device maps
// region i's file from its beginning, so the slot is mmap_offset longer than the
// region and the region starts mmap_offset into it. start is the offset of the
// shared memory in the BAR, limit the BAR's size.
func slots(regions []vhostuser.MemoryRegion, start, limit uint64) ([]uint64, error) {
	at := make([]uint64, len(regions))
	slot := start
	for i, r := range regions {
		if r.Offset > limit-slot || r.Size > limit-slot-r.Offset {
			return nil, fmt.Errorf("memory region %d (%d bytes at file offset %#x) does not fit the BAR of %d bytes: "+
				"give the device a larger BAR or the front-end's VM less memory", i, r.Size, r.Offset, limit)
		}
		at[i] = slot + r.Offset
		slot = at[i] + r.Size
	}
	return at, nil
}

// mapMemory maps the regions of a memory table, each for itself: the BAR is far
// larger than what is behind it.
func (d *Device) mapMemory(regions []vhostuser.MemoryRegion) (*peerMemory, error) {
	shm := d.caps.SharedMemory
	size := d.pci.BARSize(shm.BAR)
	if shm.Offset > size {
		return nil, fmt.Errorf("shared memory at %#x lies outside BAR %d of %d bytes", shm.Offset, shm.BAR, size)
	}
	at, err := slots(regions, shm.Offset, size)
	if err != nil {
		return nil, err
	}
	p := &peerMemory{unmap: d.pci.Unmap}
	views := make([]mem.Region, len(regions))
	for i, r := range regions {
		start := at[i] &^ (page - 1)
		end := min((at[i]+r.Size+page-1)&^(page-1), size)
		m, err := d.pci.MapBAR(shm.BAR, start, end-start)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map memory region %d: %w", i, err), p.close())
		}
		p.maps = append(p.maps, m)
		skip := at[i] - start
		views[i] = mem.Region{GPA: mem.GPA(r.GPA), UVA: r.UVA, Mem: m[skip : skip+r.Size : skip+r.Size]}
	}
	if p.table, err = mem.New(views); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// close unmaps everything. Nobody may hold a view any more.
func (p *peerMemory) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	for _, m := range p.maps {
		errs = append(errs, p.unmap(m))
	}
	p.maps = nil
	return errors.Join(errs...)
}
