package vfiouser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// checkAccess checks an access against its region.
func (s *session) checkAccess(a access) error {
	if a.Region >= numRegions {
		return fmt.Errorf("region %d does not exist: %w", a.Region, unix.EINVAL)
	}
	size := s.dev.Region(int(a.Region)).Size
	if a.Count == 0 || a.Count > MaxTransfer || a.Offset >= size || uint64(a.Count) > size-a.Offset {
		return fmt.Errorf("%d bytes at %#x of region %d, which has %#x: %w", a.Count, a.Offset, a.Region, size, unix.EINVAL)
	}
	return nil
}

func (s *session) regionRead(req *request) error {
	a, ok := parseAccess(req.payload)
	if !ok {
		return errShort
	}
	if err := s.checkAccess(a); err != nil {
		return err
	}
	out := s.io.reply(accessSize + int(a.Count))
	a.put(out)
	s.dev.Read(int(a.Region), a.Offset, out[accessSize:])
	return nil
}

func (s *session) regionWrite(req *request) error {
	a, ok := parseAccess(req.payload)
	if !ok {
		return errShort
	}
	if err := s.checkAccess(a); err != nil {
		return err
	}
	data := req.payload[accessSize:]
	if uint64(len(data)) < uint64(a.Count) {
		return fmt.Errorf("%d bytes of data for a write of %d: %w", len(data), a.Count, unix.EINVAL)
	}
	if !s.dev.Region(int(a.Region)).ReadOnly {
		s.dev.Write(int(a.Region), a.Offset, data[:a.Count])
	}
	a.put(s.io.reply(accessSize))
	return nil
}
