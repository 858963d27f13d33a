package vfiouser

import (
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
// that has grown is mapped anew. mu is held.
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
