package vring

import "vvufwd/virtio/order"

func (q *splitDevice) readOps(ops *[MaxOps]Op, tails *[MaxOps]Tail, b bounds) (n int, tailed uint64) {
	if q.Pending() == 0 && q.available() == 0 {
		return 0, 0
	}
	n = min(MaxOps, q.Pending())
	prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
	for i := 0; i < n; {
		at := q.nextAvail + uint16(i)
		run := min(n, i+q.untilEnd(at))
		if i += q.readEntries(ops[i:run], at, q.size, placeOf(&q.region), b); i < run {
			tail, ok := q.readOther(&ops[i], &tails[i], q.nextAvail+uint16(i), b)
			if !ok {
				return i, tailed
			}
			tailed |= tail << i
			i++
		}
	}
	return n, tailed
}

// untilEnd is how many entries there are from at on until the end of the ring.
func (q *splitDevice) untilEnd(at uint16) int { return int(q.size - at&(q.size-1)) }

// readOther makes an op of what may be in another region than the one hit last, or in
// several pieces.
func (q *splitDevice) readOther(op *Op, tail *Tail, at uint16, b bounds) (tailed uint64, ok bool) {
	id := *q.avail.entry(at) // a plain load: Available's acquire ordered it
	if id >= q.size {
		return 0, false
	}
	p := pieces{q: &q.Device, bounds: b}
	addr, rest := q.desc.words(id)
	ok = q.gather(&p, addr, rest) && p.put(op, tail)
	op.SrcID = id
	return p.tailed, ok
}

func (q *splitDevice) writeOps(ops []Op, head, most uint32) int {
	if q.Pending() < len(ops) && q.available() == 0 {
		return 0
	}
	n := min(len(ops), q.Pending())
	prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
	for i := 0; i < n; {
		at := q.nextAvail + uint16(i)
		run := min(n, i+q.untilEnd(at))
		if i += q.writeEntries(ops[i:run], at, q.size, placeOf(&q.region), head, most); i < run {
			if !q.writeOther(&ops[i], q.nextAvail+uint16(i), head, most) {
				return i
			}
			i++
		}
	}
	return n
}

// writeOther gives an op what may be a buffer in another region than the one hit last.
func (q *splitDevice) writeOther(op *Op, at uint16, head, most uint32) bool {
	id := *q.avail.entry(at)
	if id >= q.size {
		return false
	}
	addr, rest := q.desc.words(id)
	return uint16(rest>>32) == DescWrite && q.give(op, addr, uint32(rest), id, head, most)
}

func (q *splitDevice) completeReads(ops []Op) {
	if q.skips {
		q.used.usedReads(ops[len(ops)-1:], q.published)
		q.completed(len(ops))
		return
	}
	at, first := q.published, min(len(ops), q.untilEnd(q.published))
	q.used.usedReads(ops[:first], at)
	q.used.usedReads(ops[first:], at+uint16(first))
	q.completed(len(ops))
}

func (q *splitDevice) completeWrites(ops []Op, head uint32) {
	at, first := q.published, min(len(ops), q.untilEnd(q.published))
	q.used.usedWrites(ops[:first], at, head)
	q.used.usedWrites(ops[first:], at+uint16(first), head)
	q.completed(len(ops))
}

func (q *splitDevice) growing(uint16) bool { return false }

// completed shows n used elements to the driver.
func (q *splitDevice) completed(n int) {
	q.completedOps(n)
	order.StoreRelease16(q.used.idx(), q.published)
}

// gather follows a chain from its first descriptor on.
func (q *splitDevice) gather(p *pieces, addr, rest uint64) bool {
	for {
		flags := uint16(rest >> 32)
		switch {
		case flags == DescIndirect && p.n == 0:
			return q.gatherTable(p, addr, uint32(rest))
		case flags&^DescNext != 0 || !p.add(addr, rest):
			return false
		case flags == 0:
			return true
		}
		next := uint16(rest >> 48)
		if next >= q.size {
			return false
		}
		addr, rest = q.desc.words(next)
	}
}

// gatherTable takes what an indirect table of n bytes lists, if it does so in order.
func (q *splitDevice) gatherTable(p *pieces, addr uint64, n uint32) bool {
	at, count := q.opTable(addr, n)
	for i := range count {
		addr, rest := wordsAt(at + uint64(i)*DescSize)
		flags := uint16(rest >> 32)
		if flags&^DescNext != 0 || !p.add(addr, rest) {
			return false
		}
		if flags == 0 {
			return true
		}
		if uint16(rest>>48) != uint16(i+1) {
			return false
		}
	}
	return false
}
