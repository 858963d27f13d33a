package vring

import (
	"vvufwd/virtio/mem"
	"vvufwd/virtio/order"
)

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

// Tail is the second piece of an Op's frame, of which Src has the first N - Tail.N bytes.
type Tail struct {
	Src uint64
	N   uint32
}

// MaxOps is the largest number of ops in a burst: sets of them are the bits of a word.
const MaxOps = 64

// Plain buffers are those of a single direct descriptor, in one region of the guest's
// memory, with no flag but the one for their direction: nearly all buffers, in nearly
// all rings. Readable ones may also be in two pieces, not counting one of nothing but
// the header, as drivers send a packet whose headers and data lie apart. The calls below serve runs of them in passes, each looking at every
// descriptor once, with everything checked that Pop checks. They take nothing out of
// the ring before the Complete call, which comes when all has been copied: a burst that
// a fault breaks off, or that the other ring has no room for, leaves nothing to be
// taken back. At whatever is not plain, broken chains included, a run ends, and Pop
// goes on.

// idle reports whether nothing is in our hands: each chain popped has been completed. A
// ring whose writes are logged, or whose chains are tracked, is served by Pop alone.
func (q *Device) idle() bool {
	return q.fault == nil && q.logging == nil && q.track == nil && q.nextUsed == q.published && q.nextAvail-q.nextUsed == q.lead
}

// ReadOps describes, in ring order, as many of the plain readable buffers that wait as
// ops has room for, at most MaxOps. Each holds a header of head bytes, and after it from
// least to most bytes of a frame. Those in tailed, by their index, have a second piece.
// It looks for new buffers at most once. None while chains are in the caller's hands.
func (q *Device) ReadOps(ops *[MaxOps]Op, tails *[MaxOps]Tail, head, least, most int) (n int, tailed uint64) {
	b := bounds{uint32(head), uint32(head + least), uint32(most - least)}
	switch {
	case !q.idle():
		return 0, 0
	case q.isPacked:
		return q.readOpsPacked(ops, tails, b)
	}
	if q.Pending() == 0 && q.availableSplit() == 0 {
		return 0, 0
	}
	return q.readOpsSplit(ops, tails, b)
}

// bounds are what a readable buffer holds: a header of head bytes, and with it at least
// least bytes and span more at most.
type bounds struct{ head, least, span uint32 }

// WriteOps gives the first of ops the plain writable buffers that wait, in ring order,
// each to one whose N bytes, at most most, it holds behind a header of head bytes, and
// returns how many. It looks for new ones at most once. None while chains are in the
// caller's hands.
func (q *Device) WriteOps(ops []Op, head, most int) int {
	switch {
	case !q.idle():
		return 0
	case q.isPacked:
		return q.writeOpsPacked(ops, uint32(head), uint32(most))
	}
	if q.Pending() < len(ops) && q.availableSplit() == 0 {
		return 0
	}
	return q.writeOpsSplit(ops, uint32(head), uint32(most))
}

// Waits reports whether there is something for Pop, or for whoever asks for the ring's
// fault, when ReadOps or WriteOps has found nothing.
func (q *Device) Waits() bool {
	switch {
	case q.fault != nil || q.Pending() > 0:
		return true
	case q.isPacked:
		p := &q.packed
		return p.room > 0 && p.scan.isAvail(uint16(p.ring.state(p.scan.at)>>16))
	}
	return false
}

// CompleteReads completes the buffers that the first ReadOps of ops described and makes
// that visible to the driver. They have been read.
func (q *Device) CompleteReads(ops []Op) {
	if q.isPacked {
		q.completeReadsPacked(ops)
		return
	}
	used, at := q.split.used, q.published
	for i := range ops {
		used.put(at, uint32(ops[i].SrcID), 0)
		at++
	}
	q.completedSplit(uint16(len(ops)))
}

// CompleteWrites completes the buffers that WriteOps gave to ops, with head+N bytes
// written to each, and makes that visible to the driver.
func (q *Device) CompleteWrites(ops []Op, head int) {
	if q.isPacked {
		q.completeWritesPacked(ops, uint32(head))
		return
	}
	used, at := q.split.used, q.published
	for i := range ops {
		used.put(at, uint32(ops[i].DstID), uint32(head)+ops[i].N)
		at++
	}
	q.completedSplit(uint16(len(ops)))
}

func (q *Device) completedSplit(n uint16) {
	q.nextAvail += n
	q.nextUsed += n
	q.published = q.nextUsed
	order.StoreRelease16(q.split.used.idx(), q.published)
}

// PrefetchSrc asks for the first cache lines of what ops read, PrefetchDst of what they
// write: a burst's lines, asked for together, arrive almost together.
func PrefetchSrc(ops []Op) {
	if len(ops) > 0 {
		prefetchSrc(&ops[0], len(ops))
	}
}

// PrefetchDst is PrefetchSrc for buffers that are about to be written.
func PrefetchDst(ops []Op) {
	if len(ops) > 0 {
		prefetchDst(&ops[0], len(ops))
	}
}

// place is where memory lies: the region hit last, in registers.
type place struct {
	gpa, size uint64
	base      uint64 // address in this process
}

func placeOf(r *mem.Region) place { return place{uint64(r.GPA), uint64(len(r.Mem)), r.Address()} }

// has reports whether all n bytes at addr lie there.
func (p *place) has(addr uint64, n uint32) bool {
	off := addr - p.gpa // wraps to a huge number below the region
	return off < p.size && uint64(n) <= p.size-off
}

// find looks for the n bytes at addr in other regions, and makes theirs the one hit
// last. It returns false if they do not all lie in one.
func (q *Device) find(addr uint64, n uint32) (place, bool) {
	if n == 0 || len(q.mem.Prefix(mem.GPA(addr), n, &q.region)) < int(n) {
		return place{}, false
	}
	return placeOf(&q.region), true
}

func (q *Device) readOpsSplit(ops *[MaxOps]Op, tails *[MaxOps]Tail, b bounds) (n int, tailed uint64) {
	n = min(MaxOps, q.Pending())
	avail, desc, at := q.split.avail, q.split.desc, q.nextAvail
	prefetchHeads(desc.base, avail.entry(0), at, q.size-1, n)
	prefetchUsed(q.split.used.elements(), q.nextUsed, q.size-1, n)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		id := *avail.entry(at) // a plain load: Available's acquire ordered it
		if id >= q.size {
			return i, tailed
		}
		at++
		addr, rest := desc.words(id)
		op, length := &ops[i], uint32(rest)
		op.SrcID = id
		if flags := uint16(rest >> 32); flags != 0 {
			p := pieces{q: q, bounds: b}
			if !p.split(addr, rest) || !p.put(op, &tails[i]) {
				return i, tailed
			}
			where = placeOf(&q.region)
			tailed |= p.tailed << i
			continue
		}
		if length-b.least > b.span {
			return i, tailed
		}
		if !where.has(addr, length) {
			var ok bool
			if where, ok = q.find(addr, length); !ok {
				return i, tailed
			}
		}
		op.Dst = where.base + (addr - where.gpa)
		op.Src = op.Dst + uint64(b.head)
		op.N = length - b.head
	}
	return n, tailed
}

func (q *Device) writeOpsSplit(ops []Op, head, most uint32) int {
	n := min(len(ops), q.Pending())
	avail, desc, at := q.split.avail, q.split.desc, q.nextAvail
	prefetchHeads(desc.base, avail.entry(0), at, q.size-1, n)
	prefetchUsed(q.split.used.elements(), q.nextUsed, q.size-1, n)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		id := *avail.entry(at)
		if id >= q.size {
			return i
		}
		addr, rest := desc.words(id)
		length := uint32(rest)
		op := &ops[i]
		if uint16(rest>>32) != DescWrite || length < head+op.N || op.N > most {
			return i
		}
		if !where.has(addr, length) {
			var ok bool
			if where, ok = q.find(addr, length); !ok {
				return i
			}
		}
		op.Dst = where.base + (addr - where.gpa)
		op.DstID = id
		at++
	}
	return n
}
