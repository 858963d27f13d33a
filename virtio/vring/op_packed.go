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

func (q *packedDevice) readOps(ops *[MaxOps]Op, s *Spread, b bounds) (n int) {
	if !q.lookAgain() {
		return 0
	}
	n = min(MaxOps, int(q.size)) // never more than a lap, whatever the wrap bits say
	at := q.pops
	for i := 0; i < n; {
		run := min(n, i+int(q.size-at.at))
		k, rest := q.ring.readSlots(ops[i:run], at.at, at.plainBits(0), placeOf(&q.region), b)
		at.advance(uint16(k), q.size)
		if i += k; i < run {
			if !at.isAvail(uint16(rest >> 48)) { // the end of most runs
				return i
			}
			if !q.readOther(s, i, &ops[i], at, rest, &b) {
				s.Undo()
				return i
			}
			at.advance(1, q.size)
			i++
		}
	}
	return n
}

// readOther makes op i of what may be in another region than the one hit last, or in
// an indirect table. rest is what was read of the descriptor.
func (q *packedDevice) readOther(s *Spread, i int, op *Op, at cursor, rest uint64, b *bounds) bool {
	addr, id, n := q.ring.addr(at.at), uint16(rest>>idShift), uint32(rest)
	ok := false
	switch rest & plainMask {
	case at.plainBits(0):
		ok = q.gatherAt(s, id, addr, n)
	case at.plainBits(DescIndirect):
		ok = q.gatherTable(s, id, 0, addr, n)
	}
	return ok && s.closeRead(i, op, b)
}

func (q *packedDevice) writeOps(ops []Op, w *Writing) (n int, wait bool) {
	if !q.lookAgain() {
		return 0, false
	}
	n = min(len(ops), int(q.size))
	at := q.pops
	for i := 0; i < n; {
		run := min(n, i+int(q.size-at.at))
		k, rest := q.ring.writeSlots(ops[i:run], at.at, at.plainBits(DescWrite), placeOf(&q.region), w.Head, w.Most)
		at.advance(uint16(k), q.size)
		if i += k; i < run {
			if rest&plainMask != at.plainBits(DescWrite) || !q.give(&ops[i], q.ring.addr(at.at), uint32(rest), uint16(rest>>idShift), w.Head, w.Most) {
				return q.writeSpread(ops, i, offers{left: int(q.size) - i, slot: at}, w)
			}
			at.advance(1, q.size)
			i++
		}
	}
	return n, false
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

// sawTooFew notes them as Available does, so that EnableKicks asks for the one after them.
func (q *packedDevice) sawTooFew(n int) { q.look(uint16(n)) }

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
	q.room, q.stuck = q.size, false // what was seen meanwhile is found anew, by Available if the ring is logged by then
	q.moved = min(q.moved+uint32(n), uint32(q.size)+1)
	q.completedOps(n)
	q.seenAvail = q.nextAvail
}
