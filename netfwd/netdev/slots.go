package netdev

import (
	"fmt"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Burst is the largest number of frames that are read or written at once.
const Burst = virtionet.MaxBurst

// Where things lie in a slot, and how large they are, in bytes.
const (
	front     = 128 // before a frame: its header, and a VLAN tag that is put back
	frameRoom = virtionet.MaxFrame + 1

	// Each slot begins elsewhere in its page: else their first cache lines, which
	// are the busy ones, would all compete for the same few places of a cache.
	stride = (front+frameRoom+4095)&^4095 + 3*64
)

// FrameRoom is how many bytes can be read into a slot: one more than any frame has. If all
// are filled it was longer.
const FrameRoom = frameRoom

// Slot is the place of a frame. Addresses are of this process, in memory that Go does not
// know of.
type Slot struct {
	Header uint64 // of the frame's virtio-net header
	Frame  uint64 // of its first byte
	Len    uint32 // bytes; more than virtionet.MaxFrame: it was longer, and is cut off
	Ready  bool   // for a Wire that changes frames before it sends them: it has changed this one
}

// slots are the places of a burst.
type slots struct {
	memory []byte
	list   [Burst]Slot
	base   [Burst]uint64 // where frames begin that have no VLAN tag put back
}

func (s *slots) open() (err error) {
	// Pages come as they are touched: the rest of a slot only if frames are long.
	s.memory, err = unix.Mmap(-1, 0, Burst*stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("buffers: %w", err)
	}
	at := virtionet.AddressOf(s.memory)
	for i := range s.list {
		s.base[i] = at + uint64(i*stride+front)
	}
	return nil
}

func (s *slots) close() error {
	memory := s.memory
	s.memory = nil
	if memory == nil {
		return nil
	}
	return unix.Munmap(memory)
}
