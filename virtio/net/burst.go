package virtionet

import (
	"encoding/binary"
	"math/bits"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/vring"
)

// Burst is frames on their way from one port to others. A port's Receive fills it, and
// another one's Transmit sends what is in it, see netfwd.Port.
//
// All of its frames are of one of two kinds. Plain ones come in one or two pieces, fit one
// buffer and go out as they are, be it with a checksum left to the receiver. They are
// described by Ops, without pointers, where they lie: the ring that they came from has
// not given them back, and they may be copied once they have a place. All others are
// Frames, as they are where a port has no plain place for plain ones.
//
// A Burst is reused for burst after burst, and belongs to the goroutine that forwards.
type Burst struct {
	Ops [MaxBurst]vring.Op // for ports

	n       int
	general bool // the frames are in rest, and Ops says nothing

	// Plain frames that take more than one copy and an empty header, as bits by their index.
	tailed  uint64               // with a second piece, in Tails
	undone  uint64               // with a checksum to be completed, in starts
	valid   uint64               // whose checksums their sender vouches for
	renamed uint64               // whose addresses ReadAddresses has fixed
	slow    uint64               // that a port took as Frames
	Tails   [MaxBurst]vring.Tail // for ports
	starts  *[MaxBurst]start     // nil until one is needed
	names   [MaxBurst]Addresses  // since ReadAddresses, of Frames too

	// What Transmit has said of the destination.
	head       int    // bytes of the header before each frame
	numBuffers uint32 // this field of it, in its place in the last word
	takesValid bool
	takesCsum  bool

	copied span // that the last Copy has copied
	bytes  int  // of these

	// Recorder, if not nil, keeps a record of the frames, which whoever transmits them to a
	// ring whose record is kept too has to tell before its peer sees them.
	Recorder Recorder

	rest *frames // nil until it is needed

	// If the frames were picked from another burst: which they are there.
	origin *Burst
	order  [MaxBurst]uint8
}

// Addresses are the first 12 bytes of a frame, in the order of memory: where it goes, and
// where it comes from.
type Addresses struct {
	low  uint64
	high uint32
}

// Destination is where the frame goes, as the low 48 bits of a word.
func (a Addresses) Destination() uint64 { return a.low & (1<<48 - 1) }

// Source is where it comes from.
func (a Addresses) Source() uint64 { return a.low>>48 | uint64(a.high)<<16 }

// span is frames first to end-1.
type span struct{ first, end int }

// bits has a bit for each of them.
func (s span) bits() uint64 { return ^uint64(0) >> (MaxBurst - (s.end - s.first)) << s.first }

// Recorder knows which frames of a Burst were sent, should this process be killed.
type Recorder interface {
	// Intend notes that the next n frames, which its owner has handed out and nobody has
	// released yet, are about to be published in to. They are released next.
	Intend(n int, to *vring.Device)
}

// start is how a frame with a header of consequence begins. What was checked of it is
// copied from here, for its sender could change it.
type start struct {
	header Header
	layout packet.Layout
	keep   int // bytes of head that stand for the frame's first
	head   [packet.MaxHead]byte
}

// Reset makes b a burst of no frames, to which plain ones can be added.
func (b *Burst) Reset() { b.Fill(0, 0) }

// Add adds a plain frame of n bytes at an address of this process that can be read until
// the frame is released. There must be less than MaxBurst.
func (b *Burst) Add(addr uint64, n uint32) {
	op := &b.Ops[b.n]
	op.Src, op.N = addr, n
	b.n++
}

// Fill makes b a burst of n plain frames, of which a port has set Ops and, for those that
// tailed names by bits, Tails.
func (b *Burst) Fill(n int, tailed uint64) {
	b.n, b.general, b.origin, b.Recorder = n, false, nil, nil
	b.tailed, b.undone, b.valid, b.renamed, b.slow = tailed, 0, 0, 0, 0
	b.copied, b.bytes = span{}, 0
}

// Len is how many frames there are.
func (b *Burst) Len() int { return b.n }

// Truncate drops all but the first n from the burst.
func (b *Burst) Truncate(n int) { b.n = n }

// Plain reports whether the frames are plain.
func (b *Burst) Plain() bool { return !b.general }

// Prefetch asks for the first cache lines of plain frames, for whoever is about to look at
// them: together they arrive almost at once. Copy does without.
func (b *Burst) Prefetch() {
	if !b.general {
		vring.PrefetchSrc(b.Ops[:b.n])
	}
}

// Inspect looks at the header of frame i, at an address that the port has checked, whose
// sender may leave some things undone. It reports whether the frame is plain. Once read, a
// header is not looked at again: its sender may change it.
func (b *Burst) Inspect(i int, header uint64, may Offloads) bool {
	word := load64(header)
	return word&(uint64(FlagNeedsCsum|FlagDataValid)|0xff00) == 0 || b.inspect(i, word, load16(header+8), may)
}

// inspect is Inspect for a header that says something: its first 8 bytes and the next 2.
func (b *Burst) inspect(i int, word uint64, more uint16, may Offloads) bool {
	var raw [LegacyHeaderLen]byte
	binary.LittleEndian.PutUint64(raw[:], word)
	binary.LittleEndian.PutUint16(raw[8:], more)
	var h Header
	undone, ok := h.reduce(&raw, may)
	switch {
	case !ok:
		return false
	case !undone:
		if h.Flags != 0 {
			b.SetValid(i)
		}
		return true
	}
	if b.starts == nil {
		b.starts = new([MaxBurst]start)
	}
	s := &b.starts[i]
	n := int(b.Ops[i].N)
	head := s.head[:min(n, packet.MaxHead)]
	b.gather(i, head)
	s.layout, s.keep, ok = h.compare(head, n, may)
	s.header = h
	b.undone |= 1 << i
	return ok && h.GSOType == GSONone
}

// SetValid says that whoever plain frame i comes from vouches for its checksums.
func (b *Burst) SetValid(i int) { b.valid |= 1 << i }

// Undone are the plain frames with a checksum to be completed, as bits by their index.
func (b *Burst) Undone() uint64 { return b.undone }

// Unfinished is what is left to be done in frame i, one of Undone.
func (b *Burst) Unfinished(i int) Unfinished {
	from, k := b.at(i)
	return Unfinished{from.starts[k].header, from.starts[k].layout}
}

// SetDestination is for a port that gives plain frames places: it says how long the header
// before each is, what its NumBuffers is to be, and what may be left undone. A port without
// such headers says 0 and 0.
func (b *Burst) SetDestination(headerLen int, numBuffers uint16, takes Offloads) {
	b.head, b.numBuffers = headerLen, uint32(numBuffers)<<16
	b.takesValid, b.takesCsum = takes&OffloadDataValid != 0, takes&OffloadCsum != 0
}

// at is where what there is of frame i besides its op stands.
func (b *Burst) at(i int) (*Burst, int) {
	if b.origin != nil {
		return b.origin, int(b.order[i])
	}
	return b, i
}

// total is the number of bytes of plain frames.
func (b *Burst) total(s span) (n int) {
	if s == b.copied {
		return b.bytes
	}
	ops := b.Ops[s.first:s.end]
	for i := range ops {
		n += int(ops[i].N)
	}
	return n
}

// CountReceived counts plain frames, which are about to be released, as received.
func (c *Counters) CountReceived(b *Burst, first, end int) {
	s := span{first, end}
	c.RxPackets += uint64(end - first)
	c.RxBytes += uint64(b.total(s))
	c.Plain += uint64(end-first) - uint64(bits.OnesCount64(b.slow&s.bits()))
}

// CountSent counts plain frames, which the last Copy has copied, as sent.
func (c *Counters) CountSent(b *Burst, first, end int) {
	s := span{first, end}
	c.TxPackets += uint64(end - first)
	c.TxBytes += uint64(b.total(s))
	if unfinished := uint64(bits.OnesCount64(b.undone & s.bits())); b.takesCsum {
		c.Offloaded += unfinished
	} else {
		c.Checksummed += unfinished
	}
}
