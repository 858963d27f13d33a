package vfiouser

import (
	"fmt"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
)

// MaxDMAMaps is how many DMA maps a client may hold at a time. With a vIOMMU
// and 4 KiB pages each page of the guest is one.
const MaxDMAMaps = 65535

// memory is the guest memory of one client. Thousands of maps come from very few
// files, so each file is mapped once, whole, and its descriptor closed; a map is
// then a piece of arithmetic. It is safe for concurrent use.
type memory struct {
	limit   uint64 // see Server.LimitMemory
	mu      sync.Mutex
	files   map[fileID]*file
	maps    []mapping // sorted by addr, not overlapping
	table   *mem.Table
	stale   bool // maps changed since table was built
	retired [][]byte
}

// mapping is one range of IOVAs.
type mapping struct {
	addr, size uint64
	file       *file // nil if the client gave no file for it
	offset     uint64
}

func newMemory(limit uint64) *memory {
	return &memory{limit: limit, files: map[fileID]*file{}, stale: true}
}

// add carries out DMA_MAP. A descriptor in the request is used and left there.
// Maps without one are kept only so that overlaps are noticed.
func (m *memory) add(d dmaMap, fds []int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case d.Size == 0 || d.Addr+d.Size-1 < d.Addr:
		return fmt.Errorf("%#x+%#x is not a range: %w", d.Addr, d.Size, unix.EINVAL)
	case len(fds) > 1:
		return fmt.Errorf("%d descriptors for one map: %w", len(fds), unix.EINVAL)
	case len(m.maps) >= MaxDMAMaps:
		return fmt.Errorf("more than %d maps: %w", MaxDMAMaps, unix.ENOSPC)
	}
	// Maps arrive mostly in rising order, so look at the end first.
	i := len(m.maps)
	if i > 0 && m.maps[i-1].addr >= d.Addr {
		i = sort.Search(len(m.maps), func(k int) bool { return m.maps[k].addr >= d.Addr })
	}
	if i < len(m.maps) && m.maps[i].addr-d.Addr < d.Size ||
		i > 0 && d.Addr-m.maps[i-1].addr < m.maps[i-1].size {
		return fmt.Errorf("%#x+%#x is mapped already: %w", d.Addr, d.Size, unix.EEXIST)
	}
	entry := mapping{addr: d.Addr, size: d.Size}
	if len(fds) == 1 {
		f, err := m.fileOf(fds[0], d.Offset, d.Size)
		if err != nil {
			return err
		}
		entry.file, entry.offset = f, d.Offset
		entry.use(1)
	}
	m.maps = append(m.maps, mapping{})
	copy(m.maps[i+1:], m.maps[i:])
	m.maps[i] = entry
	m.stale = true
	return nil
}

// remove carries out DMA_UNMAP: everything in the range goes, in whole or in
// part. Clients send ranges as large as the address space, and ranges in which
// nothing was ever mapped.
func (m *memory) remove(d dmaUnmap) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, last := d.Addr, d.Addr+d.Size-1 // both included, so that 2^64 fits
	switch {
	case d.Flags&unmapAll != 0:
		first, last = 0, ^uint64(0)
	case d.Flags&unmapDirtyBitmap != 0:
		return fmt.Errorf("dirty bitmaps are not kept: %w", unix.EOPNOTSUPP)
	case d.Size == 0 || last < first:
		return fmt.Errorf("%#x+%#x is not a range: %w", d.Addr, d.Size, unix.EINVAL)
	}
	lo := sort.Search(len(m.maps), func(k int) bool { return m.maps[k].end() >= first })
	hi := lo
	var rest []mapping
	for ; hi < len(m.maps) && m.maps[hi].addr <= last; hi++ {
		e := m.maps[hi]
		if e.addr < first {
			rest = append(rest, e.cut(0, first-e.addr))
		}
		if e.end() > last {
			skip := last - e.addr + 1
			rest = append(rest, e.cut(skip, e.size-skip))
		}
	}
	switch {
	case lo == hi:
		return nil
	case len(m.maps)-(hi-lo)+len(rest) > MaxDMAMaps: // a hole makes two of one
		return fmt.Errorf("more than %d maps: %w", MaxDMAMaps, unix.ENOSPC)
	}
	for _, e := range m.maps[lo:hi] {
		e.use(-1)
	}
	for _, e := range rest {
		e.use(1)
	}
	m.maps = append(m.maps[:lo], append(rest, m.maps[hi:]...)...)
	m.stale = true
	return nil
}

// end is the last address of the mapping.
func (e mapping) end() uint64 { return e.addr + e.size - 1 }

// use counts the mapping as one more or less of its file's.
func (e mapping) use(n int) {
	if e.file != nil {
		e.file.users += n
	}
}

// cut is the part of the mapping from skip on.
func (e mapping) cut(skip, size uint64) mapping {
	return mapping{addr: e.addr + skip, size: size, file: e.file, offset: e.offset + skip}
}

// Table returns the memory as the device sees it. Neighbours in the address space
// that are neighbours in their file become one region.
func (m *memory) Table() *mem.Table {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stale {
		return m.table
	}
	var joined []mapping
	for _, e := range m.maps {
		if e.file == nil {
			continue
		}
		if n := len(joined); n > 0 {
			p := &joined[n-1]
			if p.file == e.file && p.addr+p.size == e.addr && p.offset+p.size == e.offset {
				p.size += e.size
				continue
			}
		}
		joined = append(joined, e)
	}
	regions := make([]mem.Region, 0, len(joined))
	for _, e := range joined {
		if e.addr+e.size < e.size {
			e.size-- // the very last byte of the address space is not worth a special case
		}
		regions = append(regions, mem.Region{GPA: mem.GPA(e.addr), Mem: e.file.mem[e.offset : e.offset+e.size]})
	}
	table, err := mem.New(regions)
	if err != nil { // cannot be: add checked all that New checks
		table, _ = mem.New(nil)
	}
	m.table, m.stale = table, false
	return table
}

// reap unmaps what no Table refers to any more, after the device release the
// old ones.
func (m *memory) reap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.retired {
		unix.Munmap(b)
	}
	m.retired = nil
}

// close gives everything up. No Table may be in use any more.
func (m *memory) close() {
	m.mu.Lock()
	for id, f := range m.files {
		m.retired = append(m.retired, f.mem)
		delete(m.files, id)
	}
	m.maps, m.table, m.stale = nil, nil, true
	m.mu.Unlock()
	m.reap()
}
