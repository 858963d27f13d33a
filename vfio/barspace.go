package vfio

import (
	"fmt"

	"vvufwd/vfio/mmio"
)

// barSpace is a whole BAR as registers. Parts of it that are mapped are accessed
// there, all others through the device's file. Cutting a part maps its pages, where
// the kernel allows that; so a part costs no detour, and of a BAR of many gigabytes
// only what is used gets mapped.
type barSpace struct {
	fileSpace
	device *Device
	region *region
	mapped []mappedArea // fixed once built
}

type mappedArea struct {
	area
	window *mmio.Window
}

var _ mmio.Cutter = (*barSpace)(nil)

// wholeBARLimit is up to which size a BAR is mapped when it is first asked for.
// Registers of a device fit well below; what is larger is memory.
const wholeBARLimit = 16 << 20

// newBARSpace makes registers of a BAR. The caller holds d.mu.
func newBARSpace(d *Device, r *region) (*barSpace, error) {
	s := &barSpace{
		fileSpace: fileSpace{fd: d.fd, name: r.name, offset: r.offset, size: r.size, failed: &d.failed},
		device:    d, region: r,
	}
	if r.size > wholeBARLimit {
		return s, nil
	}
	for _, a := range r.areas {
		mem, err := d.mapRegion(r, a.offset, a.size)
		if err != nil {
			return nil, err
		}
		s.mapped = append(s.mapped, mappedArea{a, mmio.NewWindow(mem)})
	}
	return s, nil
}

// at returns the registers to use for an access, and the offset in them.
func (s *barSpace) at(off, width uint64) (mmio.Space, uint64) {
	for i := range s.mapped {
		if m := &s.mapped[i]; m.contains(off, width) {
			return m.window, off - m.offset
		}
	}
	return &s.fileSpace, off
}

func (s *barSpace) Load8(off uint64) uint8 {
	space, at := s.at(off, 1)
	return space.Load8(at)
}

func (s *barSpace) Load16(off uint64) uint16 {
	space, at := s.at(off, 2)
	return space.Load16(at)
}

func (s *barSpace) Load32(off uint64) uint32 {
	space, at := s.at(off, 4)
	return space.Load32(at)
}

func (s *barSpace) Load64(off uint64) uint64 {
	space, at := s.at(off, 8)
	return space.Load64(at)
}

func (s *barSpace) Store8(off uint64, v uint8) {
	space, at := s.at(off, 1)
	space.Store8(at, v)
}

func (s *barSpace) Store16(off uint64, v uint16) {
	space, at := s.at(off, 2)
	space.Store16(at, v)
}

func (s *barSpace) Store32(off uint64, v uint32) {
	space, at := s.at(off, 4)
	space.Store32(at, v)
}

func (s *barSpace) Store64(off uint64, v uint64) {
	space, at := s.at(off, 8)
	space.Store64(at, v)
}

// Cut returns a part of the BAR, mapped if it can be. Sub has checked the bounds.
func (s *barSpace) Cut(off, n uint64) (mmio.Space, error) {
	if n == 0 {
		return mmio.NewWindow(nil), nil
	}
	if space, at := s.at(off, n); space != mmio.Space(&s.fileSpace) {
		return mmio.Sub(space, at, n)
	}
	if a, ok := s.region.mappable(off, n); ok {
		return s.cutMapped(a, off, n)
	}
	if len(s.mapped) > 0 {
		// Partly mapped: keep choosing at each access.
		return mmio.Part(s, off, n), nil
	}
	part := s.fileSpace
	part.offset += off
	part.size = n
	return &part, nil
}

// cutMapped maps the pages of a within which n bytes at off lie.
func (s *barSpace) cutMapped(a area, off, n uint64) (mmio.Space, error) {
	if n > wholeBARLimit {
		return nil, fmt.Errorf("%s of %v: 0x%x bytes are too much for registers; map memory with MapBAR", s.name, s.device.addr, n)
	}
	start := off &^ (pageSize - 1)
	end := min((off+n+pageSize-1)&^(pageSize-1), a.offset+a.size)
	s.device.mu.Lock()
	defer s.device.mu.Unlock()
	mem, err := s.device.mapRegion(s.region, start, end-start)
	if err != nil {
		return nil, err
	}
	return mmio.Sub(mmio.NewWindow(mem), off-start, n)
}
