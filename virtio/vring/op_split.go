package vring

import "vvufwd/virtio/order"

func (q *splitDevice) readOps(ops *[MaxOps]Op, tails *[MaxOps]Tail, b bounds) (n int, tailed uint64) {
	if q.Pending() == 0 && q.available() == 0 {
		return 0, 0
	}
	n = min(MaxOps, q.Pending())
	avail, desc, at := q.avail, q.desc, q.nextAvail
	prefetchHeads(desc.base, avail.entry(0), at, q.size-1, n)
	prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
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
			p := pieces{q: &q.Device, bounds: b}
			if !q.gather(&p, addr, rest) || !p.put(op, &tails[i]) {
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

func (q *splitDevice) writeOps(ops []Op, head, most uint32) int {
	if q.Pending() < len(ops) && q.available() == 0 {
		return 0
	}
	n := min(len(ops), q.Pending())
	avail, desc, at := q.avail, q.desc, q.nextAvail
	prefetchHeads(desc.base, avail.entry(0), at, q.size-1, n)
	prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, n)
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

func (q *splitDevice) completeReads(ops []Op) {
	used, at := q.used, q.published
	for i := range ops {
		used.put(at, uint32(ops[i].SrcID), 0)
		at++
	}
	q.completedOps(len(ops))
	order.StoreRelease16(used.idx(), at)
}

func (q *splitDevice) completeWrites(ops []Op, head uint32) {
	used, at := q.used, q.published
	for i := range ops {
		used.put(at, uint32(ops[i].DstID), head+ops[i].N)
		at++
	}
	q.completedOps(len(ops))
	order.StoreRelease16(used.idx(), at)
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
