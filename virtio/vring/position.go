package vring

// PackedPosition finds where the device side of a packed ring has to go on: after the
// last buffer that was given back. desc is the descriptor ring in shared memory, size its
// entries, base where the driver's side says, as DeviceConfig.NextAvail has it. indirect
// is whether INDIRECT_DESC was negotiated.
//
// A packed ring has no index in memory. A back-end that stops in order tells where it
// is. For one that was killed the driver's side can only guess: QEMU says where the
// ring began. But the ring itself tells nearly all. The avail bits change where the driver
// will go on, and what lies before that and is not used was not given back. Only after a
// used buffer of several slots is that not all: the device marks the first of them, and
// the others look as they did; so it is with buffers that are given back together in order.
// If base is after a slot with the id in the last mark, base is right. If not, drivers with indirect tables are taken to use
// one slot for each buffer, as Linux does; for others slots with the used buffer's id are
// taken for the rest of it.
//
// What a hostile driver writes there misplaces its own ring only.
func PackedPosition(desc []byte, size int, base uint16, indirect bool) (uint16, error) {
	ring, err := packedSlots(size, desc)
	if err != nil {
		return 0, err
	}
	s := packedState{ring: ring, size: uint16(size)}
	if s.blank() {
		if base == 0 {
			base = FirstSlot // what front-ends say of any ring that begins (alioth, libkrun); none stands there that is blank
		}
		return base, nil
	}
	s.find()
	if at := cursorAt(base); at.at < s.size && s.agrees(at) {
		return base, nil
	}
	if !indirect {
		s.first.advance(s.rest(), s.size)
	}
	return s.first.word(), nil
}

// packedState is what a packed ring tells of how far its device side has come.
type packedState struct {
	ring  packed
	size  uint16
	first cursor // after the last slot that is marked as used
	n     uint16 // slots from there on that are available
}

func (s *packedState) flags(i uint16) uint16 { return uint16(s.ring.state(i) >> 16) }

// blank reports whether there is nothing in the ring yet, and so nothing to go by.
func (s *packedState) blank() bool {
	for i := range s.size {
		if s.flags(i) != 0 {
			return false
		}
	}
	return true
}

// find looks at every slot.
func (s *packedState) find() {
	wrap := s.flags(0) >> 7 & 1
	next := cursor{0, wrap} // where the driver goes on
	for next.at < s.size && s.flags(next.at)>>7&1 == wrap {
		next.at++
	}
	if next.at == s.size {
		next = cursor{0, wrap ^ 1}
	}
	s.first = next
	for s.n < s.size {
		before := s.before(s.first)
		if !before.isAvail(s.flags(before.at)) {
			break
		}
		s.first = before
		s.n++
	}
}

// agrees reports whether the device side can be at c: at first, or after a slot that is not
// marked, but was given back with the one before first, whose mark has its id: it is
// the last of the same buffer, or of buffers given back together (IN_ORDER). In a full
// ring the mark can be gone; then it must be the rest of one buffer.
func (s *packedState) agrees(c cursor) bool {
	at, alone := s.first, true // alone: all from first on is one buffer
	for n := uint16(0); ; n++ {
		if at == c {
			return n == 0 || s.marked(n) || alone && n < s.n && s.n == s.size && s.flags(s.before(at).at)&DescNext == 0
		}
		if n == s.n {
			return false
		}
		if n > 0 {
			alone = alone && s.flags(s.before(at).at)&DescNext != 0
		}
		at.advance(1, s.size)
	}
}

func (s *packedState) before(c cursor) cursor {
	c.back(1, s.size)
	return c
}

// marked reports whether the slot n-1 after first is the end of a buffer that has the
// id in the mark before first.
func (s *packedState) marked(n uint16) bool {
	mark, last := s.before(s.first), s.first
	last.advance(n-1, s.size)
	state := s.ring.state(last.at)
	return mark.isUsed(s.flags(mark.at)) && state>>16&uint32(DescNext) == 0 && uint16(state) == uint16(s.ring.state(mark.at))
}

// rest is the number of slots from first on that look like the rest of the buffer that is
// marked before them.
func (s *packedState) rest() uint16 {
	at := s.first
	for n := uint16(1); n <= s.n; n++ {
		if s.flags(at.at)&DescNext == 0 {
			if s.marked(n) {
				return n
			}
			return 0
		}
		at.advance(1, s.size)
	}
	return 0
}
