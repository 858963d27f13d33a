package vfio

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
)

// fileSpace is a region that is accessed through pread and pwrite on the device's
// file: configuration space, port I/O, and what cannot be mapped. The kernel makes
// one access of the same width of each call.
//
// A read that fails gives all ones, as a read from an absent PCI device does; the
// first failure is kept for Device.Err.
type fileSpace struct {
	fd     int
	name   string
	offset uint64 // of the region in the file
	size   uint64
	failed *atomic.Pointer[error]
}

var _ mmio.Space = (*fileSpace)(nil)

func (s *fileSpace) Len() uint64 { return s.size }

func (s *fileSpace) Load8(off uint64) uint8   { return uint8(s.load(off, 1)) }
func (s *fileSpace) Load16(off uint64) uint16 { return uint16(s.load(off, 2)) }
func (s *fileSpace) Load32(off uint64) uint32 { return uint32(s.load(off, 4)) }
func (s *fileSpace) Load64(off uint64) uint64 {
	mmio.Inside(off, 8, s.size)
	low := s.load(off, 4)
	return low | s.load(off+4, 4)<<32
}

func (s *fileSpace) Store8(off uint64, v uint8)   { s.store(off, 1, uint64(v)) }
func (s *fileSpace) Store16(off uint64, v uint16) { s.store(off, 2, uint64(v)) }
func (s *fileSpace) Store32(off uint64, v uint32) { s.store(off, 4, uint64(v)) }
func (s *fileSpace) Store64(off uint64, v uint64) {
	mmio.Inside(off, 8, s.size)
	s.store(off, 4, v&0xffff_ffff)
	s.store(off+4, 4, v>>32)
}

func (s *fileSpace) load(off uint64, width int) uint64 {
	mmio.Inside(off, uint64(width), s.size)
	var b [8]byte
	n, err := unix.Pread(s.fd, b[:width], int64(s.offset+off))
	for err == unix.EINTR {
		n, err = unix.Pread(s.fd, b[:width], int64(s.offset+off))
	}
	if err != nil || n != width {
		s.fail("read", off, width, n, err)
		return 1<<(8*width) - 1
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (s *fileSpace) store(off uint64, width int, v uint64) {
	mmio.Inside(off, uint64(width), s.size)
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	n, err := unix.Pwrite(s.fd, b[:width], int64(s.offset+off))
	for err == unix.EINTR {
		n, err = unix.Pwrite(s.fd, b[:width], int64(s.offset+off))
	}
	if err != nil || n != width {
		s.fail("write", off, width, n, err)
	}
}

func (s *fileSpace) fail(verb string, off uint64, width, n int, err error) {
	if err == nil {
		err = fmt.Errorf("only %d bytes", n)
	}
	err = fmt.Errorf("%s %d bytes at 0x%x of %s: %w", verb, width, off, s.name, err)
	s.failed.CompareAndSwap(nil, &err)
}
