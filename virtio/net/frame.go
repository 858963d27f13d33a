package virtionet

import (
	"errors"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/vring"
)

// Frame is one Ethernet frame on its way between two ports.
type Frame struct {
	Header Header   // copied out of the ring and checked; what cannot be relied on is not in it
	Data   [][]byte // views of the frame, destination address first; valid until Release
	Len    int      // bytes in Data

	// If the header says that something is left to be done.
	layout packet.Layout // of Data[0], which is ours
	sent   int           // bytes that are done with, of the payload if the frame is cut
}

// Own reports whether Data[0] is a private copy of the frame's headers, which cannot
// change and must stay in one piece.
func (f *Frame) Own() bool { return f.Header.Flags&FlagNeedsCsum != 0 }

// Unfinished is what is left to be done in a frame, as devices need to know it that do it:
// checked, and true of the headers that the frame will be sent with.
type Unfinished struct {
	Header Header
	Layout packet.Layout
}

// Unfinished is what is left to be done in the frame. Only if it is Own.
func (f *Frame) Unfinished() Unfinished { return Unfinished{f.Header, f.layout} }

// SetValid says that nothing is left to be done in the frame, and that its device vouches for
// its checksums.
func (f *Frame) SetValid() { f.Header, f.sent = Header{Flags: FlagDataValid}, 0 }

// begun reports whether some of the frame has been sent, in pieces, and the rest not.
func (f *Frame) begun() bool { return f.Header.Special() && f.sent > 0 }

// ReplaceStart puts other memory in place of the frame's first len(start) bytes, which
// it has. The new Data is appended to views, which is returned.
func (f *Frame) ReplaceStart(start []byte, views [][]byte) [][]byte {
	first := len(views)
	views = append(views, start)
	skip := len(start)
	for _, v := range f.Data {
		if skip >= len(v) {
			skip -= len(v)
			continue
		}
		views = append(views, v[skip:])
		skip = 0
	}
	f.Data = views[first:len(views):len(views)]
	return views
}

// Frame lengths in bytes, without the virtio-net header and without FCS.
const (
	MinFrame = 14         // an Ethernet header
	MaxFrame = 65535 + 18 // the largest MTU with a VLAN tag

	AddressBytes = 12 // both addresses of an Ethernet header, destination first

	etherOverhead = 14 + 4 // Ethernet header and one VLAN tag
)

// FrameOf is the longest frame, with one VLAN tag, that a packet of mtu bytes makes.
func FrameOf(mtu int) int { return mtu + etherOverhead }

// MaxBurst is the largest number of frames that a port hands out at once.
const MaxBurst = vring.MaxOps

// Drop says why a frame was not forwarded. Drops are counted by the port that
// refused the frame.
type Drop uint8

// Reasons for a drop.
const (
	DropRunt      Drop = iota // shorter than an Ethernet header
	DropTooLong               // longer than the port's MTU allows
	DropNoPeer                // no one serves or offers the ring: front-end away, ring stopped or disabled
	DropNoBuffer              // the guest's buffers cannot hold the frame at all
	DropLinkDown              // the NIC has no link
	DropStopped               // the ring was stopped while the frame was in our hands
	DropBadFrame              // the device announced a frame that is not there
	DropBadHeader             // the virtio-net header lies about the frame, or asks for what was not negotiated
	DropFault                 // the port has failed, until it is restarted
	DropSpoofed               // the source address is not one that the port may use
	DropFiltered              // a switch has nowhere to send it: isolated, reserved, or at home behind the same port; or the guest does not want it, see Filter
	DropNoRoom                // a switch does not wait for room
	DropBadBuffer             // the guest offered a buffer that no driver may offer: not a frame, but nothing else becomes of it
	NumDrops
)

var dropNames = [NumDrops]string{"runt", "too_long", "no_peer", "no_buffer", "link_down", "stopped", "bad_frame", "bad_header", "fault", "spoofed", "filtered", "no_room", "bad_buffer"}

// String is the name under which the reason is reported.
func (d Drop) String() string { return dropNames[d] }

// Counters counts a port's traffic: received is what came out of the port's
// device or guest, transmitted what was handed to it. Written by the goroutine
// that forwards, without atomics; others see copies that it makes.
type Counters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	Interrupts         uint64 // doorbells rung or kicks sent
	Offloaded          uint64 // frames sent with their checksum or segmentation left to the receiver
	Checksummed        uint64 // frames whose checksum was completed here, because the receiver does not
	Segmented          uint64 // frames that were cut here, because the receiver does not
	Pieces             uint64 // frames that were made of those
	Plain              uint64 // frames received that passed as a Burst
	Drops              [NumDrops]uint64
	Faults             [vring.NumFaults]uint64 // rings stopped for breaking this rule
	MemoryFaults       uint64                  // rings stopped because their memory vanished, or for a fault of ours
}

// Dropped is the number of frames dropped for any reason.
func (c *Counters) Dropped() (n uint64) {
	for _, drops := range &c.Drops {
		n += drops
	}
	return n
}

// CountFault counts a ring that has failed with err.
func (c *Counters) CountFault(err error) {
	var fault vring.Fault
	if errors.As(err, &fault) {
		c.Faults[fault]++
	} else {
		c.MemoryFaults++
	}
}

// CopyViews copies from src, starting at offset off of src[at], into dst, and
// returns the new place in src. It stops when either side is exhausted.
func CopyViews(dst []byte, src [][]byte, at, off int) (n, newAt, newOff int) {
	for at < len(src) && n < len(dst) {
		k := copy(dst[n:], src[at][off:])
		n += k
		if off += k; off == len(src[at]) {
			at, off = at+1, 0
		}
	}
	return n, at, off
}
