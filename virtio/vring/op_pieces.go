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

// opTable finds the indirect table of n bytes at addr, if it is of a length that a plain
// buffer's can have, and returns how many descriptors it has; 0 if not.
func (q *Device) opTable(addr uint64, n uint32) (at uint64, count uint32) {
	count = n / DescSize
	if !q.indirect || n%DescSize != 0 || count > min(maxPieces, uint32(q.size)) {
		return 0, 0
	}
	where, ok := q.find(addr, n)
	if !ok {
		return 0, 0
	}
	return where.base + (addr - where.gpa), count
}
