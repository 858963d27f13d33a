package vring

import "fmt"

// packedDevice is a packed ring as its device side sees it. Slots between used and
// pop hold chains in our hands, those between pop and scan chains that were seen.
type packedDevice struct {
	ring  packed
	slots []slot // what we know of the chain that begins in a slot
	scan  cursor // where to look for the next chain
	pop   cursor // the next chain to pop
	used  cursor // where the next completion goes
	room  uint16 // slots that hold neither of these chains
	stuck bool   // the last chain seen has no end: nothing can be said of what follows

	moved uint32 // slots published since the last decision on an interrupt, at most a lap and one
}

// slot is a private note. The driver cannot reach it, so what it writes into the ring
// while a chain is in our hands changes neither the chain's length nor its id.
type slot struct {
	count uint16 // slots of the chain that begins here; 0 if it has no end
	back  uint16 // slots of the chain that ends before it
	id    uint16 // the driver's name for the chain, once popped
}

func (q *Device) initPacked(nextAvail uint16) error {
	p := &q.packed
	at := cursorAt(nextAvail)
	if at.at >= q.size {
		return fmt.Errorf("slot %d to go on at is outside a packed ring of %d entries", at.at, q.size)
	}
	p.scan, p.pop, p.used, p.room = at, at, at, q.size
	p.slots = make([]slot, q.size)
	q.offered = nextAvail != FirstSlot
	return nil
}

// availablePacked looks at what follows the chains seen so far. Each descriptor is
// looked at once, and each chain's length noted. So that the look of a burst takes no
// longer than its work may, what is left of a long ring is for the next look.
func (q *Device) availablePacked() int {
	p := &q.packed
	for looked := uint16(0); p.room > 0 && !p.stuck && looked < MaxChain; {
		at := p.scan.at
		flags := uint16(p.ring.state(at) >> 16)
		if !p.scan.isAvail(flags) {
			break
		}
		n := uint16(1)
		if flags&DescNext != 0 {
			n = q.measure()
		}
		p.slots[at].count = n
		q.seenAvail++
		if n == 0 {
			p.stuck = true
			break
		}
		p.scan.advance(n, q.size)
		p.slots[p.scan.at].back = n
		p.room -= n
		looked += n
	}
	return q.Pending()
}

// measure counts the descriptors of the chain at scan, of which the first says that
// there are more. It returns 0 if there are more than can be. Their own avail and
// used bits do not matter: the first was made available last (2.8.6).
func (q *Device) measure() uint16 {
	p := &q.packed
	limit := min(p.room, MaxChain)
	at := p.scan
	for n := uint16(2); n <= limit; n++ {
		at.advance(1, q.size)
		if p.ring.state(at.at)>>16&uint32(DescNext) == 0 {
			return n
		}
	}
	return 0
}

func (q *Device) popPacked(chains []Chain) int {
	p := &q.packed
	for i := range chains {
		c, at := &chains[i], p.pop.at
		s := &p.slots[at]
		if s.count == 0 {
			q.Fail(FaultLoop)
			return i
		}
		// Plain loads: the acquire in availablePacked ordered them. What is read here
		// may be something else by now; it is checked, and used as read.
		d, id := p.ring.get(at)
		if s.count == 1 && q.popSimple(c, at, d) {
			s.id = id
		} else if !q.popChain(c, at) {
			return i
		}
		p.pop.advance(s.count, q.size)
		q.nextAvail++
	}
	return len(chains)
}

func (q *Device) unpopPacked(n int) {
	p := &q.packed
	for range n {
		p.pop.back(p.slots[p.pop.at].back, q.size)
	}
}

// publishPacked writes used descriptors. The driver looks at them in ring order, so
// what stands behind the first is not seen before the first is.
func (q *Device) publishPacked() {
	p := &q.packed
	first, firstState := p.used.at, uint32(0)
	for i, c := range q.pushed {
		s := &p.slots[c.head]
		flags := p.used.usedFlags()
		if c.written != 0 {
			flags |= DescWrite
		}
		state := stateOf(s.id, flags)
		if i == 0 {
			p.ring.setLen(first, c.written)
			firstState = state
		} else {
			p.ring.setUsed(p.used.at, c.written, state)
		}
		p.used.advance(s.count, q.size)
		p.room += s.count
		p.moved += uint32(s.count)
	}
	p.moved = min(p.moved, uint32(q.size)+1)
	p.ring.setState(first, firstState)
}

func (q *Device) needSignalPacked() bool {
	p := &q.packed
	moved, valid := p.moved, q.signalledValid
	p.moved, q.signalledValid = 0, true
	if !valid {
		// The event may have been passed long ago; that no interrupt is wanted
		// still counts.
		moved = uint32(q.size) + 1
	}
	return p.used.wants(event(p.ring.driver), moved, uint32(q.size), q.eventIdx)
}
