package vring

// A descriptor's second word: length, id, and flags on top. What tells a plain buffer
// that is available on this lap are the bits of plainMask.
const (
	plainMask = uint64(DescNext|DescWrite|DescIndirect|DescAvail|DescUsed) << 48
	idShift   = 32
)

// plainBits are those bits of a plain buffer with the flags given.
func (c cursor) plainBits(flags uint16) uint64 { return uint64(c.availFlags()|flags) << 48 }

// lookAgain forgets chains that were seen but not popped, so that the next look is from
// pops on. What was noted of them is worth nothing then, and is found anew.
func (q *packedDevice) lookAgain() bool {
	if q.stuck {
		return false // Pop has something to say
	}
	q.scan, q.room, q.seenAvail = q.pops, q.size, q.nextAvail
	return true
}

func (q *packedDevice) readOps(ops *[MaxOps]Op, tails *[MaxOps]Tail, b bounds) (n int, tailed uint64) {
	if !q.lookAgain() {
		return 0, 0
	}
	n = min(MaxOps, int(q.size)) // never more than a lap, whatever the wrap bits say
	at := q.pops
	for i := 0; i < n; {
		run := min(n, i+int(q.size-at.at))
		k, rest := q.ring.readSlots(ops[i:run], at.at, at.plainBits(0), placeOf(&q.region), b)
		at.advance(uint16(k), q.size)
		if i += k; i < run {
			tail, ok := q.readOther(&ops[i], &tails[i], at, rest, b)
			if !ok {
				return i, tailed
			}
			tailed |= tail << i
			at.advance(1, q.size)
			i++
		}
	}
	return n, tailed
}

// readOther makes an op of what may be in another region than the one hit last, or in
// an indirect table. rest is what was read of the descriptor.
func (q *packedDevice) readOther(op *Op, tail *Tail, at cursor, rest uint64, b bounds) (tailed uint64, ok bool) {
	p := pieces{q: &q.Device, bounds: b}
	switch rest & plainMask {
	case at.plainBits(0):
		p.add(q.ring.addr(at.at), rest)
	case at.plainBits(DescIndirect):
		if !q.gatherTable(&p, q.ring.addr(at.at), uint32(rest)) {
			return 0, false
		}
	default:
		return 0, false
	}
	ok = p.put(op, tail)
	op.SrcID = uint16(rest >> idShift)
	return p.tailed, ok
}

func (q *packedDevice) writeOps(ops []Op, head, most uint32) int {
	if !q.lookAgain() {
		return 0
	}
	n := min(len(ops), int(q.size))
	at := q.pops
	for i := 0; i < n; {
		run := min(n, i+int(q.size-at.at))
		k, rest := q.ring.writeSlots(ops[i:run], at.at, at.plainBits(DescWrite), placeOf(&q.region), head, most)
		at.advance(uint16(k), q.size)
		if i += k; i < run {
			if rest&plainMask != at.plainBits(DescWrite) || !q.give(&ops[i], q.ring.addr(at.at), uint32(rest), uint16(rest>>idShift), head, most) {
				return i
			}
			at.advance(1, q.size)
			i++
		}
	}
	return n
}

// The first used descriptor is what the driver looks at first: its id and flags are
// written last.

func (q *packedDevice) completeReads(ops []Op) {
	first, at := q.used, q.used
	if q.skips {
		at.advance(uint16(len(ops)), q.size)
		q.ring.setLen(first.at, 0)
		last := ops[len(ops)-1].SrcID
		q.markLast(first, at, last)
		q.completed(first, at, len(ops), stateOf(last, first.usedFlags()))
		return
	}
	at.advance(1, q.size)
	for left := ops[1:]; len(left) > 0; {
		run := min(len(left), int(q.size-at.at))
		q.ring.usedReads(left[:run], at.at, at.usedFlags())
		at.advance(uint16(run), q.size)
		left = left[run:]
	}
	q.ring.setLen(first.at, 0)
	q.completed(first, at, len(ops), stateOf(ops[0].SrcID, first.usedFlags()))
}

func (q *packedDevice) completeWrites(ops []Op, head uint32) {
	first, at := q.used, q.used
	at.advance(1, q.size)
	for left := ops[1:]; len(left) > 0; {
		run := min(len(left), int(q.size-at.at))
		q.ring.usedWrites(left[:run], at.at, at.usedFlags()|DescWrite, head)
		at.advance(uint16(run), q.size)
		left = left[run:]
	}
	q.ring.setLen(first.at, head+ops[0].N)
	q.completed(first, at, len(ops), stateOf(ops[0].DstID, first.usedFlags()|DescWrite))
}

func (q *packedDevice) growing(n uint16) bool {
	if q.size < 2*n {
		return false
	}
	last := q.pops
	last.advance(n-1, q.size)
	return q.pops.isAvail(uint16(q.ring.state(q.pops.at)>>16)) && !last.isAvail(uint16(q.ring.state(last.at)>>16))
}

// markLast marks the last of the slots from first to before next, which are completed with
// one used descriptor in the first, as used as well. Drivers do not look at it. But if this
// process is killed the next one sees how far it came, see PackedPosition: the first is soon
// used again.
func (q *packedDevice) markLast(first, next cursor, id uint16) {
	if next.back(1, q.size); next != first {
		q.ring.setUsed(next.at, 0, stateOf(id, next.usedFlags()))
	}
}

// completed shows n used descriptors to the driver, of which it looks at the first first,
// and moves everything to next, after them.
func (q *packedDevice) completed(first, next cursor, n int, state uint32) {
	q.ring.setState(first.at, state)
	q.used, q.pops, q.scan = next, next, next
	q.moved = min(q.moved+uint32(n), uint32(q.size)+1)
	q.completedOps(n)
	q.seenAvail = q.nextAvail
}

// gatherTable takes what an indirect table of n bytes lists: length and order say what
// there is (2.8.7), see followTable.
func (q *packedDevice) gatherTable(p *pieces, addr uint64, n uint32) bool {
	at, count := q.opTable(addr, n)
	for i := range count {
		addr, rest := wordsAt(at + uint64(i)*DescSize)
		if flags := uint16(rest >> 48); flags&DescIndirect != 0 || flags&DescWrite != 0 && !q.readOnly || !p.add(addr, rest) {
			return false
		}
	}
	return count > 0
}
