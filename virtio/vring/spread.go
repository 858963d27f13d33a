package vring

import "math"

// A frame can lie in more pieces than an Op has room for, and can take more buffers of the
// ring that it goes to: a large segment of a Linux guest comes in up to 18 pieces, and fills
// up to 45 buffers. Its op says how long it is, and a Spread beside the ops where it lies.

// Piece is a piece of a buffer.
type Piece struct {
	Addr uint64 // in this process
	N    uint32 // bytes
	ID   uint16 // what names the buffer, as in an Op
	End  bool   // it is the buffer's last
}

// MaxPieces is how many pieces a burst may have: a dozen of the largest frames.
const MaxPieces = 512

// maxGathered is how many descriptors one buffer may have: Linux takes up to 47.
const maxGathered = 64

// Spread is where those frames of a burst lie, or the buffers for them, that are in
// several pieces. The zero value has none.
type Spread struct {
	set    uint64 // the ops that have pieces, by their index
	open   int    // pieces from here on are no op's yet
	n      int
	spans  [MaxOps]struct{ first, end uint16 }
	pieces [MaxPieces]Piece
}

// Reset forgets all pieces.
func (s *Spread) Reset() { s.set, s.open, s.n = 0, 0, 0 }

// Len is how many pieces there are.
func (s *Spread) Len() int { return s.n }

// Set is which ops have pieces, as bits by their index.
func (s *Spread) Set() uint64 { return s.set }

// Of returns the pieces of op i, which is in Set. There is more than one.
func (s *Spread) Of(i int) []Piece {
	span := &s.spans[i]
	return s.pieces[span.first:span.end]
}

// Add adds a piece for the next Close. It returns false if the burst has too many.
func (s *Spread) Add(p Piece) bool {
	if s.n == MaxPieces {
		return false
	}
	s.pieces[s.n] = p
	s.n++
	return true
}

// Close makes the pieces added since the last Close those of op i.
func (s *Spread) Close(i int) {
	s.spans[i].first, s.spans[i].end = uint16(s.open), uint16(s.n)
	s.set |= 1 << i
	s.open = s.n
}

// Undo takes the pieces away that were added since the last Close.
func (s *Spread) Undo() { s.n = s.open }

// added are those pieces.
func (s *Spread) added() []Piece { return s.pieces[s.open:s.n] }

// gatherAt adds the n bytes at addr, which have to lie in one region.
func (q *Device) gatherAt(s *Spread, id uint16, addr uint64, n uint32) bool {
	where, ok := q.find(addr, n)
	return ok && s.Add(Piece{Addr: where.base + (addr - where.gpa), N: n, ID: id})
}

// opTable finds the indirect table of n bytes at addr, if it is of a length that a plain
// buffer's can have, and returns how many descriptors it has; 0 if not.
func (q *Device) opTable(addr uint64, n uint32) (at uint64, count uint32) {
	count = n / DescSize
	if !q.indirect || n%DescSize != 0 || count > maxGathered {
		return 0, 0
	}
	where, ok := q.find(addr, n)
	if !ok {
		return 0, 0
	}
	return where.base + (addr - where.gpa), count
}

// closeRead makes op i of the pieces of a readable buffer. The header is not one of them.
func (s *Spread) closeRead(i int, op *Op, b *bounds) bool {
	pieces, total := s.added(), uint64(0)
	for k := range pieces {
		total += uint64(pieces[k].N)
	}
	p := &pieces[0]
	if total < uint64(b.least) || total > uint64(b.least)+uint64(b.span) || p.N < b.head {
		return false
	}
	op.Dst, op.N, op.SrcID = p.Addr, uint32(total)-b.head, p.ID
	if p.N == b.head {
		s.open++ // there is another: total is more than the header
		pieces = pieces[1:]
		p = &pieces[0]
	} else {
		p.Addr += uint64(b.head)
		p.N -= b.head
	}
	op.Src = p.Addr
	if len(pieces) == 1 {
		s.Undo()
	} else {
		s.Close(i)
	}
	return true
}

// offers goes through the writable buffers that wait in a ring. It is kept in the Device: what
// a call through opFormat takes would not be on the caller's stack.
type offers struct {
	left  int    // that may be there
	taken int    // that were looked at
	none  bool   // the end was reached
	at    uint16 // where the next one is in a split ring
	slot  cursor // and in a packed one
}

// writeSpread is writeOps for op first and those after it, whatever buffers they take.
// What was seen of these before is forgotten.
func (q *Device) writeSpread(ops []Op, first int, from offers, w *Writing) (n int, wait bool) {
	q.offers = from
	o := &q.offers
	for n = first; n < len(ops); n++ {
		op := &ops[n]
		need, have := uint64(w.Head)+uint64(op.N), uint64(0)
		if op.N > w.Most && w.Long>>n&1 == 0 {
			return n, false
		}
		for have < need {
			before := w.Spread.n
			if have > 0 && !w.Mergeable || !q.short.gatherNext(&w.Spread) {
				w.Spread.Undo()
				if wait = o.none && o.taken < q.Size(); wait && n == 0 {
					q.short.sawTooFew(o.taken)
				}
				return n, wait
			}
			added, room := w.Spread.pieces[before:w.Spread.n], uint64(0)
			for i := range added {
				room += uint64(added[i].N)
			}
			if room > math.MaxUint32 { // FaultLength, which is for Pop to say
				w.Spread.Undo()
				return n, false
			}
			have += room
			added[len(added)-1].End = true
			o.taken++
			o.left--
		}
		w.Spread.closeWrite(n, op, have-need)
	}
	return n, false
}

// closeWrite gives op i the pieces that were added, of which spare bytes at the end are too
// many, less than the last buffer has.
func (s *Spread) closeWrite(i int, op *Op, spare uint64) {
	pieces := s.added()
	last := len(pieces) - 1
	for ; spare >= uint64(pieces[last].N); last-- {
		spare -= uint64(pieces[last].N)
	}
	pieces[last].N -= uint32(spare)
	pieces[last].End = true
	op.Dst, op.DstID = pieces[0].Addr, pieces[0].ID
	if last == 0 {
		s.Undo()
		return
	}
	s.n = s.open + last + 1
	s.Close(i)
}

// written calls each for all buffers of ops, in their order, with what was written to it.
func (s *Spread) written(ops []Op, head uint32, each func(id uint16, n uint32)) {
	for i := range ops {
		if s.set>>i&1 == 0 {
			each(ops[i].DstID, head+ops[i].N)
			continue
		}
		n := uint32(0)
		for _, p := range s.Of(i) {
			if n += p.N; p.End {
				each(p.ID, n)
				n = 0
			}
		}
	}
}
