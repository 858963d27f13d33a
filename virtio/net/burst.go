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
// All of its frames are of one of two kinds. Plain ones may come in several pieces, fill several
// buffers, and have a checksum or their segmentation left to the receiver. They are
// described by Ops, without pointers, where they lie: the ring that they came from has
// not given them back, and they may be copied once they have a place. All others are
// Frames, as they are where a port has no plain place for plain ones.
//
// A Burst is reused for burst after burst, and belongs to the goroutine that forwards.
type Burst struct {
	Ops  [MaxBurst]vring.Op // for ports
	From vring.Spread       // for ports: where frames in several pieces lie
	To   vring.Writing      // for ports: the places of those that take several

	n       int
	general bool // the frames are in rest, and Ops says nothing

	// Plain frames that take more than one copy and an empty header, as bits by their index.
	spread  uint64              // in several pieces, see From
	undone  uint64              // with a checksum to be completed, in starts
	gso     uint64              // of these, those to be cut into segments
	valid   uint64              // whose checksums their sender vouches for
	renamed uint64              // whose addresses ReadAddresses has fixed
	slow    uint64              // that a port took as Frames
	known   uint64              // that rest describes, with how much of each was sent
	starts  *[MaxBurst]start    // nil until one is needed
	names   [MaxBurst]Addresses // since ReadAddresses, of Frames too

	// What Transmit has said of the destination.
	head       int    // bytes of the header before each frame
	numBuffers uint32 // this field of it, in its place in the last word
	takesValid bool
	takesCsum  bool
	placed     uint64 // frames that have several places, in To
	base       int    // which frame the first in To is

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
	// Intend notes that the next n frames, which its owner has handed out and no one has
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
func (b *Burst) Reset() {
	b.From.Reset()
	b.Fill(0)
}

// Add adds a plain frame of n bytes at an address of this process that can be read until
// the frame is released. There must be less than MaxBurst.
func (b *Burst) Add(addr uint64, n uint32) {
	op := &b.Ops[b.n]
	op.Src, op.N = addr, n
	b.n++
}

// AddPieces is Add for a frame of n bytes in several pieces, which were added to From.
func (b *Burst) AddPieces(n uint32) {
	b.From.Close(b.n)
	b.spread |= 1 << b.n
	b.Add(b.From.Of(b.n)[0].Addr, n)
}

// Pieces is in how many pieces plain frame i was added.
func (b *Burst) Pieces(i int) int {
	if b.spread>>i&1 == 0 {
		return 1
	}
	return len(b.From.Of(i))
}

// Fill makes b a burst of n plain frames, of which a port has set Ops and From.
func (b *Burst) Fill(n int) {
	b.n, b.general, b.origin, b.Recorder = n, false, nil, nil
	b.spread, b.undone, b.gso, b.valid, b.renamed, b.slow, b.known = b.From.Set(), 0, 0, 0, 0, 0, 0
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
	if h.IsGSO() {
		b.gso |= 1 << i
	}
	return ok
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

// Destination is what a port that gives plain frames places says of itself.
type Destination struct {
	HeaderLen  int      // bytes of the header before each frame; 0: none
	NumBuffers uint16   // this field of it: 1 if buffers are counted, else 0
	MaxFrame   int      // bytes of a frame, or of the segments of one that is to be cut
	Takes      Offloads // what may be left undone
}

// SetDestination is called before plain frames first to end-1 get their places. It returns
// the end of those that go to that port as they are; the next one has to be cut here. Frames
// in To.Long, which counts from first, may be longer than MaxFrame: their segments are not.
func (b *Burst) SetDestination(first, end int, d Destination) int {
	b.head, b.numBuffers = d.HeaderLen, uint32(d.NumBuffers)<<16
	b.takesValid, b.takesCsum = d.Takes&OffloadDataValid != 0, d.Takes&OffloadCsum != 0
	b.To.Head, b.To.Most, b.To.Long = uint32(d.HeaderLen), uint32(d.MaxFrame), b.gso>>first
	b.placed = 0
	if b.gso == 0 {
		return end
	}
	for i := first; i < end; i++ {
		if b.gso>>i&1 != 0 {
			from, k := b.at(i)
			if s := &from.starts[k]; b.Begun(i) || !d.passes(&s.header, &s.layout) {
				return i
			}
		}
	}
	return end
}

// passes reports whether a frame that is to be cut need not be cut here.
func (d *Destination) passes(h *Header, l *packet.Layout) bool {
	need := h.gsoOffloads(l.IPv6) | OffloadCsum
	return need&^d.Takes == 0 && int(l.End)+int(h.GSOSize) <= d.MaxFrame
}

// ToCut is the end of the frames from first on, up to end, that are to be cut into segments;
// if the first one is not, it is end.
func (b *Burst) ToCut(first, end int) int {
	if run := bits.TrailingZeros64(^(b.gso >> first)); run > 0 && !b.general {
		return min(end, first+run)
	}
	return end
}

// Placed says that n frames from first on have places, several of them those that To says.
// It returns how many of them Copy can serve: the next one lacks a checksum, and does not lie in
// one piece any more.
func (b *Burst) Placed(first, n int) int {
	b.placed, b.base = b.To.Spread.Set()<<first, first
	if odd := b.placed & b.undone; odd != 0 && !b.takesCsum {
		return min(n, bits.TrailingZeros64(odd)-first)
	}
	return n
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
