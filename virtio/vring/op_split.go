package vring

import "vvufwd/virtio/order"

func (q *splitDevice) readOps(ops *[MaxOps]Op, s *Spread, b bounds) (n int) {
	if q.Pending() == 0 && q.available() == 0 {
		return 0
	}
	n = min(MaxOps, q.Pending())
	if !q.skips {
		prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
	}
	for i := 0; i < n; {
		at := q.nextAvail + uint16(i)
		run := min(n, i+q.untilEnd(at))
		if i += q.readEntries(ops[i:run], at, q.size, placeOf(&q.region), b); i < run {
			if !q.readOther(s, i, &ops[i], q.nextAvail+uint16(i), &b) {
				s.Undo()
				return i
			}
			i++
		}
	}
	return n
}

// untilEnd is how many entries there are from at on until the end of the ring.
func (q *splitDevice) untilEnd(at uint16) int { return int(q.size - at&(q.size-1)) }

// readOther makes op i of what may be in another region than the one hit last, or in
// several pieces.
func (q *splitDevice) readOther(s *Spread, i int, op *Op, at uint16, b *bounds) bool {
	id := *q.avail.entry(at) // a plain load: Available's acquire ordered it
	if id >= q.size {
		return false
	}
	addr, rest := q.desc.words(id)
	return q.gather(s, id, 0, addr, rest) && s.closeRead(i, op, b)
}

func (q *splitDevice) writeOps(ops []Op, w *Writing) (n int, wait bool) {
	if q.Pending() < len(ops) && q.available() == 0 {
		return 0, q.fault == nil
	}
	n = min(len(ops), q.Pending())
	prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
	for i := 0; i < n; {
		at := q.nextAvail + uint16(i)
		run := min(n, i+q.untilEnd(at))
		if i += q.writeEntries(ops[i:run], at, q.size, placeOf(&q.region), w.Head, w.Most); i < run {
			if !q.writeOther(&ops[i], q.nextAvail+uint16(i), w.Head, w.Most) {
				return q.writeRest(ops, i, w)
			}
			i++
		}
	}
	return n, false
}

// writeRest is writeOps from op i on, whatever buffers they take.
func (q *splitDevice) writeRest(ops []Op, i int, w *Writing) (n int, wait bool) {
	if q.Pending() < int(q.size) && q.available() == 0 { // one op may take many; the index makes no sense
		return 0, false
	}
	at := q.nextAvail + uint16(i)
	return q.writeSpread(ops, i, offers{left: int(q.seenAvail - at), at: at}, w)
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

func (q *splitDevice) sawTooFew(int) {} // they are pending: available has seen them

// completed shows n used elements to the driver.
func (q *splitDevice) completed(n int) {
	order.StoreRelease16(q.used.idx(), q.published+uint16(n)) // before all else: its memory may have vanished
	q.completedOps(n)
}
