package vfiouser

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Sizes and numbers of the information structures in <linux/vfio.h>.
const (
	deviceInfoSize = 16
	regionInfoSize = 32
	irqInfoSize    = 16
	sparseHeadSize = 16 // capability header, u32 number of areas, u32 reserved
	sparseAreaSize = 16

	deviceFlagReset uint32 = 1 << 0
	deviceFlagPCI   uint32 = 1 << 1

	regionFlagRead  uint32 = 1 << 0
	regionFlagWrite uint32 = 1 << 1
	regionFlagMmap  uint32 = 1 << 2
	regionFlagCaps  uint32 = 1 << 3

	capSparseMmap uint16 = 1

	irqInfoEventFD uint32 = 1 << 0
)

func (s *session) getInfo(req *request) error {
	if len(req.payload) < deviceInfoSize {
		return errShort
	}
	le := binary.LittleEndian
	out := s.io.reply(deviceInfoSize)
	le.PutUint32(out[0:], deviceInfoSize)
	le.PutUint32(out[4:], deviceFlagReset|deviceFlagPCI)
	le.PutUint32(out[8:], numRegions)
	le.PutUint32(out[12:], numIRQs)
	return nil
}

// getRegionInfo describes a region. A reply that does not fit the argsz of the
// request is cut after the fixed part, which says how much is needed; QEMU then
// asks again. The descriptor goes with both.
func (s *session) getRegionInfo(req *request) (fd int, err error) {
	le := binary.LittleEndian
	if len(req.payload) < regionInfoSize {
		return -1, errShort
	}
	argsz, index := le.Uint32(req.payload[0:]), le.Uint32(req.payload[8:])
	if index >= numRegions {
		return -1, fmt.Errorf("region %d does not exist: %w", index, unix.EINVAL)
	}
	if argsz < regionInfoSize {
		return -1, fmt.Errorf("argsz %d holds no region info: %w", argsz, unix.EINVAL)
	}
	r := s.dev.Region(int(index))
	full := regionInfoSize
	if len(r.Areas) > 0 {
		full += sparseHeadSize + sparseAreaSize*len(r.Areas)
	}
	fits := uint64(argsz) >= uint64(full)
	n := regionInfoSize
	if fits {
		n = full
	}
	out := s.io.reply(n)
	fd = -1
	var flags uint32
	if r.Size > 0 {
		flags = regionFlagRead
		if !r.ReadOnly {
			flags |= regionFlagWrite
		}
	}
	if len(r.Areas) > 0 {
		flags |= regionFlagMmap | regionFlagCaps
		fd = r.FD
		le.PutUint32(out[12:], regionInfoSize) // cap_offset, also when the rest is cut
		le.PutUint64(out[24:], r.FileShift)
	}
	le.PutUint32(out[0:], uint32(full))
	le.PutUint32(out[4:], flags)
	le.PutUint32(out[8:], index)
	le.PutUint64(out[16:], r.Size)
	if fits && len(r.Areas) > 0 {
		sparse := out[regionInfoSize:]
		le.PutUint16(sparse[0:], capSparseMmap)
		le.PutUint16(sparse[2:], 1) // version; no next capability
		le.PutUint32(sparse[8:], uint32(len(r.Areas)))
		for i, a := range r.Areas {
			at := sparse[sparseHeadSize+sparseAreaSize*i:]
			le.PutUint64(at[0:], a.Offset)
			le.PutUint64(at[8:], a.Size)
		}
	}
	return fd, nil
}

func (s *session) getIRQInfo(req *request) error {
	if len(req.payload) < irqInfoSize {
		return errShort
	}
	le := binary.LittleEndian
	index := le.Uint32(req.payload[8:])
	if index >= numIRQs {
		return fmt.Errorf("interrupt index %d does not exist: %w", index, unix.EINVAL)
	}
	out := s.io.reply(irqInfoSize)
	le.PutUint32(out[0:], irqInfoSize)
	le.PutUint32(out[8:], index)
	if index == irqMSIX {
		// Not "no resize": vectors may be added while others are in use, so that
		// a client that can do so leaves the others alone.
		le.PutUint32(out[4:], irqInfoEventFD)
		le.PutUint32(out[12:], uint32(s.dev.Vectors()))
	}
	return nil
}
