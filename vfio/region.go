package vfio

import (
	"fmt"
	"os"

	"vvufwd/vfio/uapi"
)

// region is a stretch of the device's file: a BAR or the configuration space.
type region struct {
	name   string // "BAR 2"
	size   uint64 // bytes; 0: not there
	offset uint64 // in the file
	// areas are the parts that can be mapped, offsets within the region, page
	// aligned and disjoint.
	areas []area
}

type area struct{ offset, size uint64 }

// contains reports whether n bytes at off lie within the area.
func (a area) contains(off, n uint64) bool {
	return off >= a.offset && off-a.offset <= a.size && n <= a.size-(off-a.offset)
}

var pageSize = uint64(os.Getpagesize())

// queryRegion asks the kernel for a region.
func queryRegion(k deviceCalls, fd int, index uint32, name string) (region, error) {
	info, raw, err := k.RegionInfo(fd, index)
	if err != nil {
		return region{}, fmt.Errorf("%s: %w", name, err)
	}
	r := region{name: name, size: info.Size, offset: info.Offset}
	if info.Size == 0 {
		return r, nil
	}
	if info.Offset+info.Size < info.Offset || info.Offset+info.Size > 1<<63-1 {
		return region{}, fmt.Errorf("%s: the kernel reports 0x%x bytes at 0x%x, beyond any file", name, info.Size, info.Offset)
	}
	if info.Flags&uapi.RegionMmap == 0 {
		return r, nil
	}
	r.areas = []area{{0, info.Size}}
	if info.Flags&uapi.RegionCapabilities == 0 {
		return r, nil
	}
	capability, err := uapi.FindCapability(raw, info.CapOffset, uapi.RegionCapSparseMmap)
	if err != nil {
		return region{}, fmt.Errorf("%s: %w", name, err)
	}
	if capability == nil {
		return r, nil
	}
	sparse, err := uapi.SparseAreas(capability)
	if err != nil {
		return region{}, fmt.Errorf("%s: %w", name, err)
	}
	r.areas = r.areas[:0]
	for _, s := range sparse {
		// Areas that cannot be mapped by pages are served like the gaps.
		if s.Size > 0 && s.Offset%pageSize == 0 && s.Offset < r.size && s.Size <= r.size-s.Offset {
			r.areas = append(r.areas, area{s.Offset, s.Size})
		}
	}
	return r, nil
}

// mappable returns the area that n bytes at off lie in.
func (r *region) mappable(off, n uint64) (area, bool) {
	for _, a := range r.areas {
		if a.contains(off, n) {
			return a, true
		}
	}
	return area{}, false
}
