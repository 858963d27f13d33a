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
func (q *Device) lookAgain() bool {
	p := &q.packed
	if p.stuck {
		return false // popPacked has something to say
	}
	p.scan, p.room, q.seenAvail = p.pop, q.size, q.nextAvail
	return true
}

func (q *Device) readOpsPacked(ops *[MaxOps]Op, tails *[MaxOps]Tail, b bounds) (n int, tailed uint64) {
	if !q.lookAgain() {
		return 0, 0
	}
	p := &q.packed
	n = min(MaxOps, int(q.size)) // never more than a lap, whatever the wrap bits say
	at := p.pop
	want := at.plainBits(0)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		rest := p.ring.rest(at.at)
		op, length := &ops[i], uint32(rest)
		if rest&plainMask == want && length-b.least <= b.span {
			addr := p.ring.addr(at.at)
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
			s := pieces{q: q, bounds: b}
			if rest&plainMask != want|uint64(DescIndirect)<<48 || !s.table(p.ring.addr(at.at), length) || !s.put(op, &tails[i]) {
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

func (q *Device) writeOpsPacked(ops []Op, head, most uint32) int {
	if !q.lookAgain() {
		return 0
	}
	p := &q.packed
	n := min(len(ops), int(q.size))
	at := p.pop
	want := at.plainBits(DescWrite)
	where := placeOf(&q.region)
	for i := range ops[:n] {
		rest := p.ring.rest(at.at)
		length := uint32(rest)
		op := &ops[i]
		if rest&plainMask != want || length < head+op.N || op.N > most {
			return i
		}
		addr := p.ring.addr(at.at)
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

func (q *Device) completeReadsPacked(ops []Op) {
	if len(ops) == 0 {
		return
	}
	p := &q.packed
	first, at := p.used, p.used
	at.advance(1, q.size)
	flags := at.usedFlags()
	for i := range ops[1:] {
		p.ring.setUsed(at.at, 0, stateOf(ops[i+1].SrcID, flags))
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			flags = at.usedFlags()
		}
	}
	p.ring.setLen(first.at, 0)
	q.completedPacked(first, at, len(ops), stateOf(ops[0].SrcID, first.usedFlags()))
}

func (q *Device) completeWritesPacked(ops []Op, head uint32) {
	if len(ops) == 0 {
		return
	}
	p := &q.packed
	first, at := p.used, p.used
	at.advance(1, q.size)
	flags := at.usedFlags() | DescWrite
	for i := range ops[1:] {
		op := &ops[i+1]
		p.ring.setUsed(at.at, head+op.N, stateOf(op.DstID, flags))
		if at.at++; at.at == q.size {
			at.at, at.wrap = 0, at.wrap^1
			flags = at.usedFlags() | DescWrite
		}
	}
	p.ring.setLen(first.at, head+ops[0].N)
	q.completedPacked(first, at, len(ops), stateOf(ops[0].DstID, first.usedFlags()|DescWrite))
}

// completedPacked shows n used descriptors to the driver, of which it looks at the
// first first, and moves everything behind them.
func (q *Device) completedPacked(first, behind cursor, n int, state uint32) {
	p := &q.packed
	p.ring.setState(first.at, state)
	p.used, p.pop, p.scan = behind, behind, behind
	p.moved = min(p.moved+uint32(n), uint32(q.size)+1)
	q.nextAvail += uint16(n)
	q.nextUsed += uint16(n)
	q.seenAvail, q.published = q.nextAvail, q.nextUsed
}
