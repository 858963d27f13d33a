package vring

// gatherTable adds what an indirect table of n bytes lists, all with the flag given,
// DescWrite or none: length and order say what there is (2.8.7), see followTable.
func (q *packedDevice) gatherTable(s *Spread, id, want uint16, addr uint64, n uint32) bool {
	at, count := q.opTable(addr, n)
	for i := range count {
		addr, rest := wordsAt(at + uint64(i)*DescSize)
		flags := uint16(rest>>48) & (DescWrite | DescIndirect)
		if q.readOnly {
			flags &^= DescWrite
		}
		if flags != want || !q.gatherAt(s, id, addr, uint32(rest)) {
			return false
		}
	}
	return count > 0
}

// gatherNext adds the pieces of the next writable buffer, of one slot.
func (q *packedDevice) gatherNext(s *Spread) bool {
	o := &q.offers
	rest := q.ring.rest(o.slot.at)
	if o.none = o.left == 0 || !o.slot.isAvail(uint16(rest>>48)); o.none {
		return false
	}
	addr, id, n := q.ring.addr(o.slot.at), uint16(rest>>idShift), uint32(rest)
	ok := false
	switch rest & plainMask {
	case o.slot.plainBits(DescWrite):
		ok = q.gatherAt(s, id, addr, n)
	case o.slot.plainBits(DescIndirect):
		ok = q.gatherTable(s, id, DescWrite, addr, n)
	}
	o.slot.advance(1, q.size)
	return ok
}

func (q *packedDevice) completeSpread(ops []Op, s *Spread, head uint32) {
	first, at := q.used, q.used
	var firstState uint32
	count := 0
	s.written(ops, head, func(id uint16, n uint32) {
		state := stateOf(id, at.usedFlags()|DescWrite)
		if count == 0 {
			q.ring.setLen(at.at, n)
			firstState = state
		} else {
			q.ring.setUsed(at.at, n, state)
		}
		at.advance(1, q.size)
		count++
	})
	q.completed(first, at, count, firstState)
}
