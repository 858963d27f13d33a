package shadow

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/driver"
	"vvufwd/vvu/vhostuser"
)

// base is where the region begins for descriptors, and userBase for the addresses of rings. Neither
// is an address of this process: the driver VM learns none.
const (
	base     = 1 << 32
	userBase = 1 << 40
)

// Memory is a region that the driver VM has too: a file in memory that no one can resize.
// It belongs to one Shadow.
type Memory struct {
	file  *os.File
	bytes []byte
	used  int // handed out
}

// PageSize is what the size of a region is a multiple of, and MaxSize the most that it can be, in bytes.
const (
	PageSize = 4096
	MaxSize  = 1 << 40
)

// NewMemory makes a region. Its pages are made when they are first used.
func NewMemory(size uint64) (*Memory, error) {
	if size == 0 || size%PageSize != 0 || size > MaxSize {
		return nil, fmt.Errorf("shadow region of %d bytes: want a multiple of %d, %d at most", size, PageSize, MaxSize)
	}
	fd, err := unix.MemfdCreate("shadow", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("shadow region: %w", err)
	}
	m := &Memory{file: os.NewFile(uintptr(fd), "shadow")}
	if m.bytes, err = sealed(fd, size); err != nil {
		return nil, errors.Join(fmt.Errorf("shadow region of %d bytes: %w", size, err), m.file.Close())
	}
	return m, nil
}

// sealed gives the file its size for good, and maps it.
func sealed(fd int, size uint64) ([]byte, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Dup is another descriptor of the region's file, for the device that shows it.
func (m *Memory) Dup() (*os.File, error) {
	fd, err := unix.FcntlInt(m.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("shadow region: %w", err)
	}
	return os.NewFile(uintptr(fd), "shadow"), nil
}

// Alloc hands out memory of the region, zeroed. It implements driver.Allocator.
func (m *Memory) Alloc(size, align int) (driver.Memory, error) {
	at := (m.used + align - 1) &^ (align - 1)
	if at > len(m.bytes) || size > len(m.bytes)-at {
		return driver.Memory{}, fmt.Errorf("the shadow region of %d bytes is used up", len(m.bytes))
	}
	m.used = at + size
	b := m.bytes[at:m.used:m.used]
	clear(b) // someone may have written to it
	return driver.Memory{Bytes: b, Addr: base + uint64(at)}, nil
}

// Wipe takes back all that was handed out, and leaves nothing of what was in it. No one on our
// side may use it any more.
func (m *Memory) Wipe() {
	clear(m.bytes[:m.used])
	m.used = 0
}

// owns reports whether an address of this process lies in the region.
func (m *Memory) owns(addr uintptr) bool {
	return uint64(addr)-virtionet.AddressOf(m.bytes) < uint64(len(m.bytes))
}

// region describes the memory as a front-end does.
func (m *Memory) region() vhostuser.MemoryRegion {
	return vhostuser.MemoryRegion{GPA: base, Size: uint64(len(m.bytes)), UVA: userBase}
}

// Close unmaps the region. No port may use it any more.
func (m *Memory) Close() error {
	err := unix.Munmap(m.bytes)
	m.bytes = nil
	return errors.Join(err, m.file.Close())
}
