package virtionet

import (
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
	ops [vring.MaxOps]vring.Op

	// Frames that take more than one copy and an empty header, as bits by their index.
	tailed  uint64 // with a second piece, in tails
	undone  uint64 // with a checksum to be completed, in starts
	valid   uint64 // whose checksums their sender vouches for
	renamed uint64 // whose addresses SetAddresses has set
	tails   [vring.MaxOps]vring.Tail
	starts  *[vring.MaxOps]start // nil until one is needed
	names   [vring.MaxOps]addresses

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
	keep   int // bytes of head that stand for the frame's first
	head   [packet.MaxHead]byte
}

// addresses are the first 12 bytes of a frame: destination and source.
type addresses struct {
	low  uint64
	high uint32
}

// fill notes what a ring has handed out.
func (b *Burst) fill(tailed uint64) { b.tailed, b.undone, b.valid, b.renamed = tailed, 0, 0, 0 }

// Addresses are destination and source of frame i, as the low 48 bits of words in the
// order of memory. They are read once; SetAddresses makes them those that go out.
func (b *Burst) Addresses(i int) (dst, src uint64) {
	const low48 = 1<<48 - 1
	var low, high uint64
	switch bit := uint64(1) << i; {
	case b.undone&bit != 0:
		head := b.starts[i].head[:]
		low, high = le64(head), le64(head[6:])
	case b.tailed&bit != 0 && b.ops[i].N-b.tails[i].N < MinFrame:
		var head [MinFrame]byte
		b.gather(i, head[:])
		low, high = le64(head[:]), le64(head[6:])
	default:
		low, high = load64(b.ops[i].Src), load64(b.ops[i].Src+6)
	}
	return low & low48, high & low48
}

// SetAddresses fixes the addresses of frame i as they were read.
func (b *Burst) SetAddresses(i int, dst, src uint64) {
	b.renamed |= 1 << i
	b.names[i] = addresses{dst | src<<48, uint32(src >> 16)}
}

// plain inspects the header of frame i, whose sender may leave some things undone, and
// reports whether the frame is plain. word is the header's first 8 bytes, and more reads
// the next 2.
func (b *Burst) plain(i int, may Offloads, word uint64, more func() uint16) bool {
	if word&(uint64(flagNeedsCsum|flagDataValid)|0xff00) == 0 {
		return true
	}
	var raw [LegacyHeaderLen]byte
	putLE64(raw[:], word)
	putLE16(raw[8:], more())
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
		b.starts = new([vring.MaxOps]start)
	}
	s := &b.starts[i]
	n := int(b.ops[i].N)
	head := s.head[:min(n, packet.MaxHead)]
	b.gather(i, head)
	_, s.keep, ok = h.compare(head, n, may)
	s.header = h
	b.undone |= 1 << i
	return ok && h.GSOType == gsoNone
}

// accepts notes what a destination takes unfinished.
func (b *Burst) accepts(takes Offloads) {
	b.takesValid, b.takesCsum = takes&OffloadDataValid != 0, takes&OffloadCsum != 0
}

// Skip is Copy for frames that are dropped.
func (b *Burst) Skip(n int) {
	b.bytes = 0
	for i := range b.ops[:n] {
		b.bytes += uint64(b.ops[i].N)
	}
}

// unfinished is how many of the first n frames came with a checksum to be completed.
func (b *Burst) unfinished(n int) uint64 {
	return uint64(bits.OnesCount64(b.undone << (vring.MaxOps - n)))
}
