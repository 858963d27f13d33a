package vring

// maxPieces is how many descriptors a plain buffer may have: one for the header, and
// two. More are followed by Pop.
const maxPieces = 3

// pieces are the descriptors of a readable buffer that has more than one, or has them in
// a table of its own. Each is copied once. Whatever is unusual ends in false, and says
// nothing about who is to blame.
type pieces struct {
	q *Device
	bounds
	n      int
	addr   [maxPieces]uint64
	len    [maxPieces]uint32
	tailed uint64 // 1 if put has set the tail
}

// add adds a descriptor, of which rest is the word after the address.
func (p *pieces) add(addr, rest uint64) bool {
	if p.n == maxPieces {
		return false
	}
	p.addr[p.n], p.len[p.n] = addr, uint32(rest)
	p.n++
	return true
}

// split follows the chain of a split ring from its first descriptor on.
func (p *pieces) split(addr, rest uint64) bool {
	for {
		flags := uint16(rest >> 32)
		switch {
		case flags == DescIndirect && p.n == 0:
			return p.table(addr, uint32(rest))
		case flags&^DescNext != 0 || !p.add(addr, rest):
			return false
		case flags == 0:
			return true
		}
		next := uint16(rest >> 48)
		if next >= p.q.size {
			return false
		}
		addr, rest = p.q.split.desc.words(next)
	}
}

// table takes what an indirect table of n bytes lists.
func (p *pieces) table(addr uint64, n uint32) bool {
	q, count := p.q, n/DescSize
	if !q.indirect || n%DescSize != 0 || count == 0 || count > min(maxPieces, uint32(q.size)) {
		return false
	}
	where, ok := q.find(addr, n)
	if !ok {
		return false
	}
	at := where.base + (addr - where.gpa)
	for i := range count {
		addr, rest := wordsAt(at + uint64(i)*DescSize)
		if q.isPacked {
			// Length and order say what there is (2.8.7), see walk.packedTable.
			if flags := uint16(rest >> 48); flags&DescIndirect != 0 || flags&DescWrite != 0 && !q.readOnly || !p.add(addr, rest) {
				return false
			}
			continue
		}
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
	return q.isPacked // a chain of a split ring's table ends in the table
}

// put makes an op of the pieces.
func (p *pieces) put(op *Op, tail *Tail) bool {
	var total uint64
	var at [maxPieces]uint64
	for i := range p.n {
		where, ok := p.q.find(p.addr[i], p.len[i])
		if !ok {
			return false
		}
		at[i] = where.base + (p.addr[i] - where.gpa)
		total += uint64(p.len[i])
	}
	if total > uint64(p.least)+uint64(p.span) || total < uint64(p.least) || p.len[0] < p.head {
		return false
	}
	op.Dst, op.N = at[0], uint32(total)-p.head
	first := 0
	if p.len[0] == p.head {
		first = 1
		op.Src = at[1] // there is one: total is more than the header
	} else {
		op.Src = at[0] + uint64(p.head)
	}
	switch p.n - first {
	case 1:
	case 2:
		tail.Src, tail.N, p.tailed = at[first+1], p.len[first+1], 1
	default:
		return false
	}
	return true
}
