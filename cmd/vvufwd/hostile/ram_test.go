package hostile

import (
	"errors"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// The guest's memory, as guest-physical addresses. All regions are pieces of one
// file.
//
//	0                    zeroRegion   where addresses that wrap around would arrive
//	mainGPA              mainRegion   rings and buffers
//	mainGPA+mainBytes    nextRegion   its neighbour for the guest, far away in every other respect
//	vastGPA              vastRegion   a gigabyte that no one touches
//	topGPA               topRegion    near the end of the address space
const (
	mainGPA, mainBytes = 0x4000_0000, 1 << 20
	nextGPA, nextBytes = mainGPA + mainBytes, 64 << 10
	vastGPA, vastBytes = 0x1_0000_0000, 1 << 30
	topGPA, topBytes   = 1<<64 - 0x2_0000, 64 << 10
	zeroBytes          = 64 << 10

	// Places in the file. The neighbours are not neighbours here.
	mainAt, nextAt, zeroAt, topAt = 0, 2 << 20, 3 << 20, 3<<20 + zeroBytes
	vastAt                        = 4 << 20
	ramBytes                      = vastAt + vastBytes
	touched                       = vastAt // what the test maps itself
)

// regions is the memory table. User addresses have nothing to do with
// guest-physical ones.
var regions = vhostuser.MemoryTable{
	{GPA: mainGPA, Size: mainBytes, UVA: 0x7f00_0000_0000, Offset: mainAt},
	{GPA: nextGPA, Size: nextBytes, UVA: 0x7d00_0000_0000, Offset: nextAt},
	{GPA: 0, Size: zeroBytes, UVA: 0x7c00_0000_0000, Offset: zeroAt},
	{GPA: topGPA, Size: topBytes, UVA: 0x7b00_0000_0000, Offset: topAt},
	{GPA: vastGPA, Size: vastBytes, UVA: 0x6000_0000_0000, Offset: vastAt},
}

const mainUVA = 0x7f00_0000_0000

// ram is the memory of a guest, shared through a memfd.
type ram struct {
	fd    int
	bytes []byte // the first touched bytes of the file
}

func newRAM() (*ram, error) {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	r := &ram{fd: fd}
	if err := unix.Ftruncate(fd, ramBytes); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.bytes, err = unix.Mmap(fd, 0, touched, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ram) close() error {
	var err error
	if r.bytes != nil {
		err = unix.Munmap(r.bytes)
		r.bytes = nil
	}
	return errors.Join(err, unix.Close(r.fd))
}

// files are the descriptors that go with the memory table.
func (r *ram) files() []int {
	fds := make([]int, len(regions))
	for i := range fds {
		fds[i] = r.fd
	}
	return fds
}

// at returns n bytes at an address of the main region.
func (r *ram) at(gpa uint64, n int) []byte {
	off := int(gpa - mainGPA + mainAt)
	return r.bytes[off : off+n : off+n]
}

// next returns the first n bytes of the main region's neighbour.
func (r *ram) next(n int) []byte { return r.bytes[nextAt : nextAt+n : nextAt+n] }

// pieces returns the n bytes at an address of the main region or its neighbour, in
// one piece or, across the border, two.
func (r *ram) pieces(gpa uint64, n int) [][]byte {
	if rest := int(int64(gpa) + int64(n) - nextGPA); gpa < nextGPA && rest > 0 {
		return [][]byte{r.at(gpa, n-rest), r.next(rest)}
	}
	if gpa >= nextGPA {
		off := int(gpa - nextGPA + nextAt)
		return [][]byte{r.bytes[off : off+n : off+n]}
	}
	return [][]byte{r.at(gpa, n)}
}

// write puts bytes into guest memory, across the border if need be.
func (r *ram) write(gpa uint64, b []byte) {
	for _, p := range r.pieces(gpa, len(b)) {
		b = b[copy(p, b):]
	}
}

// read takes bytes out of guest memory.
func (r *ram) read(gpa uint64, n int) (b []byte) {
	for _, p := range r.pieces(gpa, n) {
		b = append(b, p...)
	}
	return b
}
