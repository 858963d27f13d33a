package virtionet

import (
	"encoding/binary"
	"math/bits"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/vring"
)

// Burst is plain frames on their way from one port to another: such that come in one or
// two pieces, fit one buffer and go out as they are, be it with a checksum left to the
// receiver. A port's ReadPlain fills it, another's WritePlain gives each frame a place,
// Copy moves them, and only then do FinishWrite and FinishRead change anything in the
// rings. What is not plain goes the way of a Frame.
//
// It has no pointers to guest memory, is reused for burst after burst, and belongs to
// the goroutine that forwards.
type Burst struct {
	Ops [MaxBurst]vring.Op // for ports

	// Frames that take more than one copy and an empty header, as bits by their index.
	tailed  uint64               // with a second piece, in Tails
	undone  uint64               // with a checksum to be completed, in starts
	valid   uint64               // whose checksums their sender vouches for
	renamed uint64               // whose addresses SetAddresses has set
	Tails   [MaxBurst]vring.Tail // for ports
	starts  *[MaxBurst]start     // nil until one is needed
	names   [MaxBurst]addresses

	// What WritePlain has said of the destination.
	head       int    // bytes of the header before each frame
	numBuffers uint32 // this field of it, in its place in the last word
	takesValid bool
	takesCsum  bool

	bytes uint64 // of frames that the last Copy has copied
}

// start is how a frame with a header of consequence begins. What was checked of it is
// copied from here, for its sender could change it.
type start struct {
	header Header
	layout packet.Layout
	keep   int // bytes of head that stand for the frame's first
	head   [packet.MaxHead]byte
}

// addresses are the first 12 bytes of a frame: destination and source.
type addresses struct {
	low  uint64
	high uint32
}

// Fill begins a new burst, of which a port has set Ops and, of the frames that tailed names by
// bits, Tails.
func (b *Burst) Fill(tailed uint64) { b.tailed, b.undone, b.valid, b.renamed = tailed, 0, 0, 0 }

// Addresses are destination and source of frame i, as the low 48 bits of words in the
// order of memory. They are read once; SetAddresses makes them those that go out.
func (b *Burst) Addresses(i int) (dst, src uint64) {
	const low48 = 1<<48 - 1
	var low, high uint64
	switch bit := uint64(1) << i; {
	case b.undone&bit != 0:
		head := b.starts[i].head[:]
		low, high = binary.LittleEndian.Uint64(head), binary.LittleEndian.Uint64(head[6:])
	case b.tailed&bit != 0 && b.Ops[i].N-b.Tails[i].N < MinFrame:
		var head [MinFrame]byte
		b.gather(i, head[:])
		low, high = binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[6:])
	default:
		low, high = load64(b.Ops[i].Src), load64(b.Ops[i].Src+6)
	}
	return low & low48, high & low48
}

// SetAddresses fixes the addresses of frame i as they were read.
func (b *Burst) SetAddresses(i int, dst, src uint64) {
	b.renamed |= 1 << i
	b.names[i] = addresses{dst | src<<48, uint32(src >> 16)}
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
			b.valid |= 1 << i
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

// SetDestination is for a port that gives the frames places: it says how long the header
// before each is, what its NumBuffers is to be, and what may be left undone.
func (b *Burst) SetDestination(headerLen int, numBuffers uint16, takes Offloads) {
	b.head, b.numBuffers = headerLen, uint32(numBuffers)<<16
	b.takesValid, b.takesCsum = takes&OffloadDataValid != 0, takes&OffloadCsum != 0
}

// SetValid says that the device vouches for the checksums of frame i.
func (b *Burst) SetValid(i int) { b.valid |= 1 << i }

// Undone are the frames with a checksum to be completed, as bits by their index.
func (b *Burst) Undone() uint64 { return b.undone }

// Unfinished is what is left to be done in frame i, one of Undone.
func (b *Burst) Unfinished(i int) Unfinished {
	s := &b.starts[i]
	return Unfinished{s.header, s.layout}
}

// Skip is Copy for frames that are dropped.
func (b *Burst) Skip(n int) {
	b.bytes = 0
	for i := range b.Ops[:n] {
		b.bytes += uint64(b.Ops[i].N)
	}
}

// unfinished is how many of the first n frames came with a checksum to be completed.
func (b *Burst) unfinished(n int) uint64 {
	return uint64(bits.OnesCount64(b.undone << (MaxBurst - n)))
}

// CountPlain counts the first n frames, all that were copied, as received.
func (c *Counters) CountPlain(b *Burst, n int) {
	c.RxPackets += uint64(n)
	c.RxBytes += b.bytes
	c.Plain += uint64(n)
}

// CountSent counts them as transmitted.
func (c *Counters) CountSent(b *Burst, n int) {
	c.TxPackets += uint64(n)
	c.TxBytes += b.bytes
	if unfinished := b.unfinished(n); b.takesCsum {
		c.Offloaded += unfinished
	} else {
		c.Checksummed += unfinished
	}
}
