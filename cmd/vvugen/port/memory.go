package port

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// memory is a memfd that a back-end maps as our guest memory. It is sealed
// against resizing: a truncated file would kill us with SIGBUS.
type memory struct {
	file  *os.File
	bytes []byte
	huge  bool // made of huge pages
	given bool // the file is someone else's, who keeps its size
}

// newMemory maps at least n bytes, of huge pages if enough of them are free.
func newMemory(n int) (*memory, error) {
	size := (n + hugePage - 1) &^ (hugePage - 1)
	if m, err := mapMemfd(size, unix.MFD_HUGETLB|unix.MFD_HUGE_2MB); err == nil {
		m.huge = true
		return m, nil
	}
	m, err := mapMemfd(size, 0)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of shared memory for rings and frames: %w", size, err)
	}
	return m, nil
}

func mapMemfd(size, flags int) (*memory, error) {
	fd, err := unix.MemfdCreate("vvugen", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|flags)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "memfd:vvugen")
	bytes, err := seal(fd, size)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &memory{file: file, bytes: bytes}, nil
}

// seal gives the file its final size and maps it, every page present.
func seal(fd, size int) ([]byte, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("size memfd: %w", err)
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal memfd: %w", err)
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map memfd: %w", err)
	}
	return b, nil
}

// mapGiven maps a file of at least n bytes, which must be zeroed.
func mapGiven(file *os.File, n int) (*memory, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	if st.Size() < int64(n) {
		return nil, fmt.Errorf("memory of %d bytes is too small for rings and frames, which take %d", st.Size(), n)
	}
	b, err := unix.Mmap(int(file.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return &memory{file: file, bytes: b, given: true}, nil
}

// Close unmaps the memory; no one may hold a view of it.
func (m *memory) Close() error {
	if m.bytes == nil {
		return nil
	}
	err := unix.Munmap(m.bytes)
	m.bytes = nil
	if m.given {
		return err
	}
	return errors.Join(err, m.file.Close())
}
