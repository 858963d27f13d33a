package vring

import "vvufwd/virtio/mem"

// Op is one plain frame on its way from a buffer that its ring's driver has filled to
// one that another ring's driver wants filled. It is small and holds no pointer: a
// burst of them stays in two dozen cache lines, and writing one costs no barrier of the
// garbage collector. The memory that the addresses name is kept mapped by the rings.
type Op struct {
	Src uint64 // address in this process of the frame's first byte
	Dst uint64 // of the buffer to fill, header included; before WriteOps, of the header that came with the frame
	N   uint32 // bytes of the frame
	// What names the buffers when they are completed: see Chain.Head. In a packed ring
	// the driver's id.
	SrcID, DstID uint16
}

// MaxOps is the largest number of ops in a burst: sets of them are the bits of a word.
const MaxOps = 64

// Plain buffers are those of a single direct descriptor, in one region of the guest's
// memory, with no flag but the one for their direction: nearly all buffers, in nearly
// all rings. Those of up to maxGathered descriptors in one direction are plain too, direct
// ones in a split ring or in an indirect table in order, each in one region: they
// take a look more, and their pieces are in a Spread. The calls below serve runs of them in passes, each looking at every
// descriptor once, with everything checked that Pop checks. They take nothing out of
// the ring before the Complete call, which comes when all has been copied: a burst that
// a fault breaks off, or that the other ring has no room for, leaves nothing to be
// taken back. At whatever is not plain, broken chains included, a run ends, and Pop
// goes on.

// opFormat is what the two formats do differently with plain buffers.
type opFormat interface {
	readOps(ops *[MaxOps]Op, s *Spread, b bounds) (n int)
	writeOps(ops []Op, w *Writing) (n int, wait bool)
	gatherNext(s *Spread) bool // adds the pieces of the next of q.offers
	completeReads(ops []Op)
	completeWrites(ops []Op, head uint32)
	completeSpread(ops []Op, s *Spread, head uint32)
	growing(n uint16) bool // Growing
	sawTooFew(n int)       // n buffers were seen from nextAvail on; they are too few, and stay pending
}

// bounds are what a readable buffer holds: a header of head bytes, and with it at least
// least bytes and span more at most.
type bounds struct{ head, least, span uint32 }

// idle reports whether nothing is in our hands: each chain popped has been completed. A
// ring whose writes are logged, or whose chains are tracked, is served by Pop alone.
func (q *Device) idle() bool {
	return q.fault == nil && q.logging == nil && q.track == nil && q.nextUsed == q.published && q.nextAvail-q.nextUsed == q.lead
}

// ReadOps describes, in ring order, as many of the plain readable buffers that wait as
// ops has room for, at most MaxOps. Each holds a header of head bytes, and after it from
// least to most bytes of a frame. Frames in more than one piece, the header not counted, are
// in s. It looks for new buffers at most once. None while chains are in the caller's hands.
func (q *Device) ReadOps(ops *[MaxOps]Op, s *Spread, head, least, most int) (n int) {
	s.Reset()
	if !q.idle() {
		return 0
	}
	return q.short.readOps(ops, s, bounds{uint32(head), uint32(head + least), uint32(most - least)})
}

// Writing says what WriteOps may do.
type Writing struct {
	Spread    Spread // of ops that take several buffers, or one of several pieces
	Long      uint64 // ops that may be longer than Most, by their index
	Head      uint32 // bytes of the header before each frame
	Most      uint32 // bytes of a frame
	Mergeable bool   // a frame may take several buffers, all but the last of which are filled
}

// WriteOps gives the first of ops the plain writable buffers that wait, in ring order,
// each to one whose N bytes it holds after the header, and returns how many. An op that
// gets more pieces than one has them in w.Spread, exactly as long as header and frame. It
// looks for new buffers at most once. None while chains are in the caller's hands. If it
// is none, wait says that more buffers of the driver are all that the first op needs.
func (q *Device) WriteOps(ops []Op, w *Writing) (n int, wait bool) {
	w.Spread.Reset()
	if !q.idle() {
		return 0, false
	}
	return q.short.writeOps(ops, w)
}

// Waits reports whether there is something for Pop, or for whoever asks for the ring's
// fault, when ReadOps has found nothing. It may look once more.
func (q *Device) Waits() bool {
	return q.fault != nil || q.Pending() > 0 || q.Available() > 0 || q.fault != nil
}

// Growing reports whether the driver seems to be at work in the very lines that are to be
// looked at: a buffer waits, and the n-th from it on does not, in a ring that has room for
// twice as many. Who waits for a few looks then takes more at a time, and leaves the
// lines to the driver meanwhile. A split ring's driver shows what it offers by an index, in
// a line of its own: there it is false.
func (q *Device) Growing(n int) bool { return q.fault == nil && q.short.growing(uint16(n)) }

// CompleteReads completes the buffers that the first ReadOps of ops described and makes
// that visible to the driver. They have been read. A ring that has a fault by now is left alone.
func (q *Device) CompleteReads(ops []Op) {
	if len(ops) > 0 && q.fault == nil {
		q.short.completeReads(ops)
	}
}

// CompleteWrites completes the buffers that WriteOps gave to ops, all written to, and
// makes that visible to the driver. A ring that has a fault by now is left alone.
func (q *Device) CompleteWrites(ops []Op, w *Writing) {
	switch {
	case len(ops) == 0 || q.fault != nil:
	case w.Spread.set == 0:
		q.short.completeWrites(ops, w.Head)
	default:
		q.short.completeSpread(ops, &w.Spread, w.Head)
	}
}

// completedOps counts n ops that were completed.
func (q *Device) completedOps(n int) {
	q.nextAvail += uint16(n)
	q.nextUsed = q.nextAvail - q.lead
	q.published = q.nextUsed
}

// PrefetchSrc asks for the first cache lines of what ops read, for who looks at them before
// CopyOps: a burst's lines, asked for together, arrive almost together.
func PrefetchSrc(ops []Op) {
	if len(ops) > 0 {
		prefetchSrc(&ops[0], len(ops))
	}
}

// place is where memory lies: the region hit last, in registers.
type place struct {
	gpa, size uint64
	base      uint64 // address in this process
}

func placeOf(r *mem.Region) place { return place{uint64(r.GPA), uint64(len(r.Mem)), r.Address()} }

// give gives op the writable buffer of n bytes at addr, wherever it lies, if it is long
// enough.
func (q *Device) give(op *Op, addr uint64, n uint32, id uint16, head, most uint32) bool {
	if n < head+op.N || op.N > most {
		return false
	}
	where, ok := q.find(addr, n)
	op.Dst, op.DstID = where.base+(addr-where.gpa), id
	return ok
}

// find looks for the n bytes at addr in other regions, and makes theirs the one hit
// last. It returns false if they do not all lie in one.
func (q *Device) find(addr uint64, n uint32) (place, bool) {
	if n == 0 || len(q.mem.Prefix(mem.GPA(addr), n, &q.region)) < int(n) {
		return place{}, false
	}
	return placeOf(&q.region), true
}
