package vvu

import (
	"errors"
	"fmt"

	"vvufwd/virtio/mem"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

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

// Map maps the regions of a memory table, each for itself: the BAR is far larger
// than what is behind it.
func (d *Device) Map(regions []vhostuser.MemoryRegion) (*session.Memory, error) {
	shm := d.caps.SharedMemory
	size := d.pci.BARSize(shm.BAR)
	if shm.Offset > size {
		return nil, fmt.Errorf("shared memory at %#x lies outside BAR %d of %d bytes", shm.Offset, shm.BAR, size)
	}
	at, err := slots(regions, shm.Offset, size)
	if err != nil {
		return nil, err
	}
	var maps [][]byte
	unmap := func() error {
		var errs []error
		for _, m := range maps {
			errs = append(errs, d.pci.Unmap(m))
		}
		return errors.Join(errs...)
	}
	views := make([]mem.Region, len(regions))
	for i, r := range regions {
		start := at[i] &^ (page - 1)
		end := min((at[i]+r.Size+page-1)&^(page-1), size)
		m, err := d.pci.MapBAR(shm.BAR, start, end-start)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map memory region %d: %w", i, err), unmap())
		}
		maps = append(maps, m)
		d.measure(m)
		skip := at[i] - start
		views[i] = mem.Region{GPA: mem.GPA(r.GPA), UVA: r.UVA, Mem: m[skip : skip+r.Size : skip+r.Size]}
	}
	table, err := mem.New(views)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	return &session.Memory{Table: table, Unmap: unmap}, nil
}

// MapLog refuses: dirty logs are not offered through this device, see offered.
func (d *Device) MapLog(vhostuser.Log, uint64) (*session.LogMemory, error) {
	return nil, errors.New("the device does not show the front-end's dirty log")
}

// NewInflight and MapInflight refuse like MapLog.
func (d *Device) NewInflight(uint64) (int, error) { return -1, errNoInflight }

func (d *Device) MapInflight(uint64, uint64) (*session.InflightMemory, error) {
	return nil, errNoInflight
}

var errNoInflight = errors.New("the device does not carry inflight regions")
