package vfiouser

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxFiles bounds the files that are mapped at a time. Virtual machines have one
// or two, and a few more with NUMA nodes or memory hot-plug.
const maxFiles = 64

// fileID tells whether two descriptors mean the same file.
type fileID struct {
	dev, ino uint64
}

// file is a memory file of the client, mapped whole.
type file struct {
	mem   []byte
	users int // mappings that refer to it
}

// fileOf returns the mapped file behind fd, which must hold the range. A file
// that has grown is mapped again. mu is held.
func (m *memory) fileOf(fd int, offset, size uint64) (*file, error) {
	// The client is trusted with this: of a file system whose server it is itself it could
	// let fstat wait, and any access to the memory, but it would wait for its own device.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("file of the map: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("memory must come from a file, this is of type %#o: %w", st.Mode&unix.S_IFMT, unix.EINVAL)
	}
	if end := offset + size; end < size || end > uint64(st.Size) {
		return nil, fmt.Errorf("file of %d bytes does not hold %#x+%#x: %w", st.Size, offset, size, unix.EINVAL)
	}
	id := fileID{uint64(st.Dev), st.Ino}
	f := m.files[id]
	if f != nil && offset+size <= uint64(len(f.mem)) {
		return f, nil
	}
	if f == nil && len(m.files) >= maxFiles && !m.evict() {
		return nil, fmt.Errorf("memory from more than %d files: %w", maxFiles, unix.ENOSPC)
	}
	if err := m.checkTotal(id, uint64(st.Size)); err != nil {
		return nil, err
	}
	f = m.files[id] // it may have given way itself, to what it has grown to
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes of guest memory: %w", st.Size, err)
	}
	if f == nil {
		f = &file{}
		m.files[id] = f
	} else {
		m.retired = append(m.retired, f.mem)
	}
	f.mem = b
	return f, nil
}

// errMuchMemory is the error of memory beyond the limit.
var errMuchMemory = errors.New("raise --max-memory if it is meant to have so much")

// checkTotal refuses a file of so many bytes if the client's files were too large with it.
// Those that no mapping uses give way. mu is held.
func (m *memory) checkTotal(id fileID, size uint64) error {
	total := m.totalWith(id, size)
	if m.limit == 0 || total <= m.limit {
		return nil
	}
	for total > m.limit && m.evict() {
		total = m.totalWith(id, size)
	}
	if total > m.limit {
		return fmt.Errorf("the driver VM shares files of %d MiB in total, more than the %d MiB that it may: %w (%w)", total>>20, m.limit>>20, errMuchMemory, unix.ENOSPC)
	}
	return nil
}

// totalWith is what the client's files have together if one has so many bytes.
func (m *memory) totalWith(id fileID, size uint64) uint64 {
	total := size
	for other, f := range m.files {
		if other != id {
			total += uint64(len(f.mem)) // all of it is mapped: the sum cannot wrap
		}
	}
	return total
}

// evict drops a file that no mapping uses, so that files which come and go do
// not add up. mu is held.
func (m *memory) evict() bool {
	for id, f := range m.files {
		if f.users == 0 {
			m.retired = append(m.retired, f.mem)
			delete(m.files, id)
			return true
		}
	}
	return false
}
