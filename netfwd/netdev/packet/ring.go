package packet

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// A ring of version 2 (Documentation/networking/packet_mmap.rst of Linux): slots, which the kernel fills one after the other
// and we give back in the same order. It shares no memory with anyone else.
//
// The size of a slot is that of a frame of 1518 bytes with a VLAN tag and what comes before it. It is no power of two, as the
// first cache lines of slots would otherwise compete for the same few places of a cache. What is longer, such as segments that
// the kernel has put together, waits as a whole in the socket (PACKET_COPY_THRESH), and its slot says so.
const (
	slotBytes  = 27 * 64
	blockBytes = 64 << 10 // of which a slot does not cross the end
	blocks     = 64
	perBlock   = blockBytes / slotBytes
	ringSlots  = blocks * perBlock
)

// beforeMac is how many bytes of a slot come before a frame at least: struct tpacket2_hdr, and the virtio-net header.
const beforeMac = 32 + headerLen

// ring belongs to the goroutine that forwards, but for what is said otherwise.
type ring struct {
	memory []byte // nil: there is no ring
	base   uint64 // its address
	oldest uint32 // the first slot that was not given back
	held   uint32 // how many from there on were read
	given  atomic.Uint64
	short  atomic.Uint64 // frames that found a slot, and no room for their whole length
}

// open gives a socket that has none yet a ring.
func (r *ring) open(fd int) (err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("have a ring of version 2: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
		return fmt.Errorf("have long frames beside a ring: %w", err)
	}
	size := unix.TpacketReq{Block_size: blockBytes, Block_nr: blocks, Frame_size: slotBytes, Frame_nr: ringSlots}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &size); err != nil {
		return fmt.Errorf("make a ring of %d KiB: %w", blocks*blockBytes>>10, err)
	}
	r.memory, err = unix.Mmap(fd, 0, blocks*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a ring: %w", err)
	}
	r.base = virtionet.AddressOf(r.memory)
	return nil
}

func (r *ring) close() error {
	memory := r.memory
	r.memory = nil
	if memory == nil {
		return nil
	}
	return unix.Munmap(memory)
}

// slot is the address of one.
func (r *ring) slot(i uint32) uint64 {
	return r.base + uint64(i/perBlock)*blockBytes + uint64(i%perBlock)*slotBytes
}

// next is the address of the oldest slot with a frame that was not read, 0 if there is none.
func (r *ring) next() uint64 {
	if r.held == ringSlots {
		return 0
	}
	i := r.oldest + r.held
	if i >= ringSlots {
		i -= ringSlots
	}
	at := r.slot(i)
	if atomic.LoadUint32(statusOf(at))&unix.TP_STATUS_USER == 0 {
		return 0
	}
	return at
}

// giveBack gives all slots back that were read.
func (r *ring) giveBack() {
	if r.held == 0 {
		return
	}
	for range r.held {
		atomic.StoreUint32(statusOf(r.slot(r.oldest)), unix.TP_STATUS_KERNEL)
		if r.oldest++; r.oldest == ringSlots {
			r.oldest = 0
		}
	}
	r.given.Store(r.given.Load() + uint64(r.held))
	r.held = 0
}

// empty reports whether the slot is the kernel's that comes after so many were given back. Safe for concurrent use until close.
func (r *ring) empty(given uint64) bool {
	return atomic.LoadUint32(statusOf(r.slot(uint32(given%ringSlots))))&unix.TP_STATUS_USER == 0
}
