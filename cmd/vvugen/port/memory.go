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

// Close unmaps the memory; no one may hold a view of it.
func (m *memory) Close() error {
	if m.bytes == nil {
		return nil
	}
	err := unix.Munmap(m.bytes)
	m.bytes = nil
	return errors.Join(err, m.file.Close())
}
