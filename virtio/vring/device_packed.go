package vring

import (
	"fmt"

	"vvufwd/virtio/mem"
)

// packedDevice is the device side of a packed ring. Chains between pop and scan were seen,
// and between used and pop are as many slots as those take that are in our hands.
type packedDevice struct {
	Device
	ring packed

	scan  cursor // where to look for the next chain
	pops  cursor // the next chain to pop
	used  cursor // where the next completion goes
	room  uint16 // slots that hold neither of these chains
	stuck bool   // the last chain seen has no end: nothing can be said of what follows
	moved uint32 // slots published since the last decision on an interrupt, at most a lap and one

	// Private notes. The driver cannot reach them: each descriptor is copied once, and what
	// is written into the ring after that changes nothing.
	slots []slot
	held  []held   // chains in our hands, by their names
	names []uint16 // those that no chain has, the next one last; as many as there are slots in all
}

// slot is what was seen in a slot between pop and scan. Those before pop are as they were
// until scan comes round, so that pops can be taken back.
type slot struct {
	addr, rest uint64 // the descriptor
	count      uint16 // slots of the chain that begins here; 0 if it has no end
	back       uint16 // slots of the chain that ends before it
	name       uint16 // of the chain that begins here, once popped
}

// held is what is needed to complete a chain. It is not kept by slot: used descriptors are
// written from used on whichever chain they are for, and make the driver reuse those slots
// while the chain that began there is still in our hands.
type held struct {
	slot  uint16 // where it began
	count uint16 // slots
	id    uint16 // the driver's name for the chain
}

func newPackedDevice(common Device, p *Place, nextAvail uint16) (*Device, error) {
	at := cursorAt(nextAvail)
	if at.at >= common.size {
		return nil, fmt.Errorf("slot %d to go on at is outside a packed ring of %d entries", at.at, common.size)
	}
	q := &packedDevice{
		Device: common, ring: p.ring, scan: at, pops: at, used: at, room: common.size,
		slots: make([]slot, common.size), held: make([]held, common.size), names: make([]uint16, common.size),
	}
	for i := range q.names {
		q.names[i] = q.size - 1 - uint16(i)
	}
	q.format, q.short = q, q
	q.offered = nextAvail != FirstSlot
	return &q.Device, nil
}

func (q *packedDevice) placeIn(t *mem.Table, at [3]mem.GPA) (*Place, error) {
	return newPlace(int(q.size), true, t, at)
}

func (q *packedDevice) move(p *Place) { q.ring = p.ring }

func (q *packedDevice) position() (base uint32, used uint16) {
	used = q.used.word()
	return uint32(q.pops.word()) | uint32(used)<<16, used
}

func (q *packedDevice) record(t *Tracker) trackFormat { return newPackedTrack(t, q) }

// available looks at what follows the chains seen so far, and notes it. So that the look
// of a burst takes no longer than its work may, what is left of a long ring is for the
// next look.
func (q *packedDevice) available() int {
	q.look(MaxChain)
	return q.Pending()
}

// look is available for as many slots.
func (q *packedDevice) look(slots uint16) {
	for looked := uint16(0); q.room > 0 && !q.stuck && looked < slots; {
		s := &q.slots[q.scan.at]
		rest := q.ring.rest(q.scan.at)
		flags := uint16(rest >> 48)
		if !q.scan.isAvail(flags) {
			break
		}
		s.addr, s.rest = q.ring.addr(q.scan.at), rest
		n := uint16(1)
		if flags&DescNext != 0 {
			n = q.measure()
		}
		s.count = n
		q.seenAvail++
		if n == 0 {
			q.stuck = true
			break
		}
		q.scan.advance(n, q.size)
		q.slots[q.scan.at].back = n
		q.room -= n
		looked += n
	}
}

// measure counts the descriptors of the chain at scan, of which the first says that
// there are more, and notes them. It returns 0 if there are more than can be. Their own
// avail and used bits do not matter: the first was made available last (2.8.6).
func (q *packedDevice) measure() uint16 {
	limit := min(q.room, MaxChain)
	at := q.scan
	for n := uint16(2); n <= limit; n++ {
		at.advance(1, q.size)
		s := &q.slots[at.at]
		s.rest = q.ring.rest(at.at)
		s.addr = q.ring.addr(at.at)
		if uint16(s.rest>>48)&DescNext == 0 {
			return n
		}
	}
	return 0
}

func (q *packedDevice) pop(chains []Chain) int {
	if len(chains) > 1 { // for the completions: Available has read the descriptors
		q.ring.prefetch(q.pops.at, q.size, len(chains))
	}
	for i := range chains {
		c, s := &chains[i], &q.slots[q.pops.at]
		if s.count == 0 {
			q.Fail(FaultLoop)
			return i
		}
		free := len(q.names) - 1 // there is one: chains in our hands have a slot each
		name := q.names[free]
		d, id := packedDesc(s.addr, s.rest)
		if s.count != 1 || !q.popSimple(c, name, d) {
			var ok bool
			if id, ok = q.popOther(c, name, s); !ok {
				return i
			}
		}
		q.names, s.name, q.held[name] = q.names[:free], name, held{q.pops.at, s.count, id}
		q.pops.advance(s.count, q.size)
		q.nextAvail++
	}
	return len(chains)
}

// popOther takes any chain.
func (q *packedDevice) popOther(c *Chain, name uint16, s *slot) (id uint16, ok bool) {
	d, id := packedDesc(s.addr, s.rest)
	if s.count == 1 && q.popElsewhere(c, name, d) {
		return id, true
	}
	if q.Exhausted() {
		return 0, false
	}
	w := q.walk()
	id, fault := q.follow(&w)
	return id, w.end(c, name, fault)
}

func (q *packedDevice) unpop(n int) {
	for range n {
		q.pops.back(q.slots[q.pops.at].back, q.size)
		q.names = append(q.names, q.slots[q.pops.at].name)
	}
}

// publish writes used descriptors. The driver looks at them in ring order, so what comes
// after the first is not seen before the first is.
func (q *packedDevice) publish() {
	before, first, firstState := q.used, q.used.at, uint32(0)
	for i, c := range q.pushed {
		s := q.held[c.head]
		flags := q.used.usedFlags()
		if c.written != 0 {
			flags |= DescWrite
		}
		switch state := stateOf(s.id, flags); {
		case q.skips:
		case i == 0:
			q.ring.setLen(first, c.written)
			firstState = state
		default:
			q.ring.setUsed(q.used.at, c.written, state)
		}
		q.used.advance(s.count, q.size)
		q.room += s.count
		q.moved += uint32(s.count)
		q.names = append(q.names, c.head)
	}
	if q.skips {
		last := q.pushed[len(q.pushed)-1]
		id := q.held[last.head].id
		q.ring.setLen(first, last.written)
		q.markLast(before, q.used, id)
		firstState = stateOf(id, before.usedFlags())
	}
	q.moved = min(q.moved, uint32(q.size)+1)
	q.ring.setState(first, firstState)
	if q.logging != nil {
		q.logUsed(first)
	}
}

// logUsed marks what publish wrote: descriptors from slot first to before the slot where
// the next completion goes.
func (q *packedDevice) logUsed(first uint16) {
	l, end := q.logging, q.used.at
	if end <= first {
		l.Memory.Mark(l.Desc+mem.GPA(DescSize*int(first)), uint64(DescSize*int(q.size-first)))
		first = 0
	}
	l.Memory.Mark(l.Desc+mem.GPA(DescSize*int(first)), uint64(DescSize*int(end-first)))
}

func (q *packedDevice) needSignal() bool {
	moved, valid := q.moved, q.signalledValid
	q.moved, q.signalledValid = 0, true
	if !valid {
		// The event may have been passed long ago; that no interrupt is wanted
		// still counts.
		moved = uint32(q.size) + 1
	}
	return q.used.wants(event(q.ring.driver), moved, uint32(q.size), q.eventIdx)
}

func (q *packedDevice) setKicks(wanted bool) {
	switch {
	case !wanted:
		setEvent(q.ring.device, 0, EventDisable)
	case q.eventIdx:
		setEvent(q.ring.device, q.scan.word(), EventDesc)
	default:
		setEvent(q.ring.device, 0, eventEnable)
	}
	if l := q.logging; l != nil {
		l.Memory.Mark(l.Used, EventBytes)
	}
}
