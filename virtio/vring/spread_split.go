package vring

// gather adds the pieces of a chain, all with the flag given, DescWrite or none. Its first
// descriptor was copied, each other one is now. It returns false if the chain is
// unusual, which says nothing about who is to blame.
func (q *splitDevice) gather(s *Spread, id, want uint16, addr, rest uint64) bool {
	for count := range maxGathered {
		flags := uint16(rest >> 32)
		switch {
		case flags == DescIndirect && count == 0:
			return q.gatherTable(s, id, want, addr, uint32(rest))
		case flags&^DescNext != want || !q.gatherAt(s, id, addr, uint32(rest)):
			return false
		case flags == want:
			return true
		}
		next := uint16(rest >> 48)
		if next >= q.size {
			return false
		}
		addr, rest = q.desc.words(next)
	}
	return false
}

// gatherTable adds what an indirect table of n bytes lists, if it does so in order.
func (q *splitDevice) gatherTable(s *Spread, id, want uint16, addr uint64, n uint32) bool {
	at, count := q.opTable(addr, n)
	for i := range count {
		addr, rest := wordsAt(at + uint64(i)*DescSize)
		flags := uint16(rest >> 32)
		if flags&^DescNext != want || !q.gatherAt(s, id, addr, uint32(rest)) {
			return false
		}
		if flags == want {
			return true
		}
		if uint16(rest>>48) != uint16(i+1) {
			return false
		}
	}
	return false
}

// gatherNext adds the pieces of the next writable buffer.
func (q *splitDevice) gatherNext(s *Spread) bool {
	o := &q.offers
	if o.left == 0 {
		o.none = true
		return false
	}
	id := *q.avail.entry(o.at) // a plain load, see writeOps
	if id >= q.size {
		return false
	}
	o.at++
	addr, rest := q.desc.words(id)
	return q.gather(s, id, DescWrite, addr, rest)
}

func (q *splitDevice) completeSpread(ops []Op, s *Spread, head uint32) {
	used, at := q.used, q.published
	s.written(ops, head, func(id uint16, n uint32) {
		used.put(at, uint32(id), n)
		at++
	})
	q.completed(int(at - q.published))
}
