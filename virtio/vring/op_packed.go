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
// pop on. What was noted of them is worth nothing then, and is found anew.
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
	want := at.plainBits(0)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		rest := q.ring.rest(at.at)
		op, length := &ops[i], uint32(rest)
		if rest&plainMask == want && length-b.least <= b.span {
			addr := q.ring.addr(at.at)
			if !where.has(addr, length) {
				var ok bool
				if where, ok = q.find(addr, length); !ok {
					return i, tailed
				}
			}
			op.Dst = where.base + (addr - where.gpa)
			op.Src = op.Dst + uint64(b.head)
			op.N = length - b.head
		} else {
			s := pieces{q: &q.Device, bounds: b}
			if rest&plainMask != want|uint64(DescIndirect)<<48 || !q.gatherTable(&s, q.ring.addr(at.at), length) || !s.put(op, &tails[i]) {
				return i, tailed
			}
			where = placeOf(&q.region)
			tailed |= s.tailed << i
		}
		op.SrcID = uint16(rest >> idShift)
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			want = at.plainBits(0)
		}
	}
	return n, tailed
}

func (q *packedDevice) writeOps(ops []Op, head, most uint32) int {
	if !q.lookAgain() {
		return 0
	}
	n := min(len(ops), int(q.size))
	at := q.pops
	want := at.plainBits(DescWrite)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		rest := q.ring.rest(at.at)
		length := uint32(rest)
		op := &ops[i]
		if rest&plainMask != want || length < head+op.N || op.N > most {
			return i
		}
		addr := q.ring.addr(at.at)
		if !where.has(addr, length) {
			var ok bool
			if where, ok = q.find(addr, length); !ok {
				return i
			}
		}
		op.Dst = where.base + (addr - where.gpa)
		op.DstID = uint16(rest >> idShift)
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			want = at.plainBits(DescWrite)
		}
	}
	return n
}

func (q *packedDevice) completeReads(ops []Op) {
	first, at := q.used, q.used
	at.advance(1, q.size)
	flags := at.usedFlags()
	for i := range ops[1:] {
		q.ring.setUsed(at.at, 0, stateOf(ops[i+1].SrcID, flags))
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			flags = at.usedFlags()
		}
	}
	q.ring.setLen(first.at, 0)
	q.completed(first, at, len(ops), stateOf(ops[0].SrcID, first.usedFlags()))
}

func (q *packedDevice) completeWrites(ops []Op, head uint32) {
	first, at := q.used, q.used
	at.advance(1, q.size)
	flags := at.usedFlags() | DescWrite
	for i := range ops[1:] {
		op := &ops[i+1]
		q.ring.setUsed(at.at, head+op.N, stateOf(op.DstID, flags))
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			flags = at.usedFlags() | DescWrite
		}
	}
	q.ring.setLen(first.at, head+ops[0].N)
	q.completed(first, at, len(ops), stateOf(ops[0].DstID, first.usedFlags()|DescWrite))
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
