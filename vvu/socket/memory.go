package socket

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

// memory is what a front-end shares over one connection. A region is mapped once, when
// the message that brings it is handled, and its file is closed after that: regions take
// no descriptors, and a region more or less costs nothing for the others.
type memory struct {
	arrived map[vhostuser.MemoryRegion]int // files that the message at hand brings, not yet mapped
	done    []int                          // files that are
	mapped  map[vhostuser.MemoryRegion]*mapping
	all     map[*mapping]bool // not unmapped yet
	touched bool              // since the last sweep

	bytes, most uint64 // that are mapped, and that may be; 0: no bound
}

// rounding is how much more may be mapped than a front-end may share. Files of huge pages are
// mapped in whole pages, of up to 1 GiB, and a guest has a few regions that are smaller.
const rounding = 64 << 30

// mapping is one region. It is unmapped when no table has it and none will.
type mapping struct {
	view, whole []byte
	tables      int  // that have it
	kept        bool // it is in mapped
}

func newMemory() memory {
	return memory{
		arrived: map[vhostuser.MemoryRegion]int{}, mapped: map[vhostuser.MemoryRegion]*mapping{}, all: map[*mapping]bool{},
	}
}

// bring takes a region's file over. It returns the one that it takes the place of, if
// any, or -1.
func (m *memory) bring(r vhostuser.MemoryRegion, fd int) (old int) {
	m.touched = true
	old, ok := m.arrived[r]
	m.arrived[r] = fd
	if !ok {
		return -1
	}
	return old
}

// replace says that the next table shares nothing with what is mapped, even where it
// looks the same: it brings all its files.
func (m *memory) replace() error { return m.keep(nil) }

// sweep ends the handling of a message. It returns the files that no one needs any more,
// and unmaps regions that are not known, which is the table in force: it is asked for only
// if a region may have come or gone, for there may be many, and many other messages.
func (m *memory) sweep(known func() []vhostuser.MemoryRegion) (files []int, err error) {
	if !m.touched {
		return nil, nil
	}
	m.touched = false
	for _, fd := range m.arrived {
		files = append(files, fd)
	}
	files = append(files, m.done...)
	clear(m.arrived)
	m.done = m.done[:0]
	return files, m.keep(known())
}

// close unmaps everything. No one uses a table any more, though one may not have been
// unmapped: its session may have ended on the way from it to the next.
func (m *memory) close() (files []int, err error) {
	m.touched = true
	files, err = m.sweep(func() []vhostuser.MemoryRegion { return nil })
	for one := range m.all {
		one.tables = 0
		err = errors.Join(err, m.release(one))
	}
	return files, err
}

// keep forgets all regions but those known.
func (m *memory) keep(known []vhostuser.MemoryRegion) error {
	if len(known) == len(m.mapped) && m.hasAll(known) {
		return nil // as when one was added to many
	}
	wanted := make(map[vhostuser.MemoryRegion]bool, len(known))
	for _, r := range known {
		wanted[r] = true
	}
	var errs []error
	for r, one := range m.mapped {
		if !wanted[r] {
			delete(m.mapped, r)
			one.kept = false
			errs = append(errs, m.release(one))
		}
	}
	return errors.Join(errs...)
}

func (m *memory) hasAll(known []vhostuser.MemoryRegion) bool {
	for _, r := range known {
		if m.mapped[r] == nil {
			return false
		}
	}
	return true
}

// release unmaps a region if no one needs it any more.
func (m *memory) release(one *mapping) error {
	if one.tables > 0 || one.kept || !m.all[one] {
		return nil
	}
	delete(m.all, one)
	if err := unix.Munmap(one.whole); err != nil {
		return err
	}
	m.bytes -= uint64(len(one.whole))
	return nil
}

// table makes a table of regions. Those that came with a file are mapped, the others must
// be already.
func (m *memory) table(regions []vhostuser.MemoryRegion) (*session.Memory, error) {
	m.touched = true
	all, views := make([]*mapping, 0, len(regions)), make([]mem.Region, len(regions))
	unmap := func() error {
		var errs []error
		for _, one := range all {
			one.tables--
			errs = append(errs, m.release(one))
		}
		all, m.touched = nil, true
		return errors.Join(errs...)
	}
	for i, r := range regions {
		one, err := m.region(r)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("memory region %d (%v): %w", i, r, err), unmap())
		}
		one.tables++
		all = append(all, one)
		views[i] = mem.Region{GPA: mem.GPA(r.GPA), UVA: r.UVA, Mem: one.view}
	}
	table, err := mem.New(views)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	for i, r := range regions {
		m.adopt(r, all[i])
	}
	return &session.Memory{Table: table, Unmap: unmap}, nil
}

// adopt keeps a region for further tables.
func (m *memory) adopt(r vhostuser.MemoryRegion, one *mapping) {
	one.kept = true
	m.mapped[r] = one
	if fd, ok := m.arrived[r]; ok {
		delete(m.arrived, r)
		m.done = append(m.done, fd)
	}
}

// region returns the mapping of one region.
func (m *memory) region(r vhostuser.MemoryRegion) (*mapping, error) {
	if one := m.mapped[r]; one != nil {
		return one, nil // a file for a region that is there already is no part of a table
	}
	fd, ok := m.arrived[r]
	if !ok {
		return nil, errors.New("it came without its file descriptor")
	}
	view, whole, err := mapRegion(fd, r)
	if err != nil {
		return nil, err
	}
	one := &mapping{view: view, whole: whole}
	m.all[one] = true
	m.bytes += uint64(len(whole))
	if m.most > 0 && m.bytes > m.most {
		err := fmt.Errorf("%d MiB are mapped with it, pages of its file being as large as they are, and %d MiB are allowed: raise --max-memory, or use smaller pages", m.bytes>>20, m.most>>20)
		return nil, errors.Join(err, m.release(one))
	}
	return one, nil
}
