package vvutest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// RAM is the memory of an app VM, a file in memory. It outlives the VM, so that
// several can be started on it one after the other.
type RAM struct {
	Bytes []byte
	FD    int
}

// RAMSize is how much memory an app VM has.
const RAMSize = 8 << 20

// NewRAM makes the memory; it exists until the test ends.
func NewRAM(t testing.TB) *RAM {
	t.Helper()
	fd, err := unix.MemfdCreate("app", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, RAMSize); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, RAMSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return &RAM{Bytes: b, FD: fd}
}

// Path is a name under which the file can be opened.
func (r *RAM) Path() string { return fmt.Sprintf("/proc/self/fd/%d", r.FD) }

// Resize changes the size of the file. What lies beyond a smaller one cannot be
// touched, by anyone; with RAMSize it is there again, zeroed.
func (r *RAM) Resize(n int64) error { return unix.Ftruncate(r.FD, n) }

// Where an app VM has its memory: below the hole for the VGA window, above it, and
// above 4 GiB. In the file all lies at its offset, and the front-end has the file
// mapped as a whole.
const (
	userBase = 0x7fff00000000
	highAt   = RAMSize / 2 // file offset of what is above 4 GiB
)

// Regions is the usual memory table of an app VM.
func Regions() []vhostuser.MemoryRegion {
	return []vhostuser.MemoryRegion{
		{GPA: 0, Size: 0xa0000, UVA: userBase},
		{GPA: 0xc0000, Size: highAt - 0xc0000, UVA: userBase + 0xc0000, Offset: 0xc0000},
		{GPA: 4 << 30, Size: RAMSize - highAt, UVA: userBase + highAt, Offset: highAt},
	}
}

// gpa is the address in descriptors of a file offset, under regions.
func gpa(regions []vhostuser.MemoryRegion, offset uint64) (uint64, error) {
	for _, r := range regions {
		if offset-r.Offset < r.Size {
			return r.GPA + offset - r.Offset, nil
		}
	}
	return 0, fmt.Errorf("file offset %#x is in no memory region", offset)
}
