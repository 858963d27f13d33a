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

	first      uint16 // slot of the first completion that is not published
	firstState uint32 // its id and flags, which publish all of them
	fresh      uint16 // slots completed since the last Publish
	moved      uint32 // slots published since the last decision on an interrupt, at most a lap and one
}

// slot is a private note. The driver cannot reach it, so what it writes into the ring
// while a chain is in our hands changes neither the chain's length nor its id.
type slot struct {
	count uint16 // slots of the chain that begins here; 0 if it has no end
	back  uint16 // slots of the chain that ends before it
	id    uint16 // the driver's name for the chain, once popped
}

func (q *Device) initPacked(nextAvail uint16, desc, driver, device []byte) (err error) {
	p := &q.packed
	if p.ring, err = packedRing(int(q.size), desc, driver, device); err != nil {
		return err
	}
	at := cursorAt(nextAvail)
	if at.at >= q.size {
		return fmt.Errorf("slot %d to go on at is outside a packed ring of %d entries", at.at, q.size)
	}
	p.scan, p.pop, p.used, p.room = at, at, at, q.size
	p.slots = make([]slot, q.size)
	return nil
}

// availablePacked looks at what follows the chains seen so far. Each descriptor is
// looked at once, and each chain's length noted.
func (q *Device) availablePacked() int {
	p := &q.packed
	for p.room > 0 && !p.stuck {
		at := p.scan.at
		flags := uint16(p.ring.state(at) >> 16)
		if !p.scan.isAvail(flags) {
			break
		}
		n := uint16(1)
		if flags&DescNext != 0 {
			if n = q.measure(); n == 0 {
				p.stuck = true
			}
		}
		p.slots[at].count = n
		p.scan.advance(n, q.size)
		p.slots[p.scan.at].back = n
		p.room -= n
		q.seenAvail++
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

func (q *Device) popPacked(c *Chain) bool {
	p := &q.packed
	s := &p.slots[p.pop.at]
	if s.count == 0 {
		q.Fail(FaultLoop)
		return false
	}
	// The order was given by the acquire in availablePacked. What is read here may
	// be something else by now; it is checked, and used as read.
	d, id := p.ring.get(p.pop.at)
	if s.count == 1 && q.popSimple(c, p.pop.at, d) {
		s.id = id
	} else if !q.popChain(c, p.pop.at) {
		return false
	}
	p.pop.advance(s.count, q.size)
	q.nextAvail++
	return true
}

func (q *Device) unpopPacked(n int) {
	p := &q.packed
	for range n {
		p.pop.back(p.slots[p.pop.at].back, q.size)
	}
}

// pushPacked writes a used descriptor. The driver looks at them in ring order, so it
// sees none before the first is published, and then all.
func (q *Device) pushPacked(head uint16, written uint32) {
	if q.fault != nil {
		return
	}
	p := &q.packed
	s := &p.slots[head]
	flags := p.used.usedFlags()
	if written != 0 {
		flags |= DescWrite
	}
	if q.nextUsed == q.published {
		p.ring.setLen(p.used.at, written)
		p.first, p.firstState = p.used.at, stateOf(s.id, flags)
	} else {
		p.ring.setUsed(p.used.at, written, stateOf(s.id, flags))
	}
	p.used.advance(s.count, q.size)
	p.room += s.count
	p.fresh += s.count
	q.nextUsed++
}

func (q *Device) publishPacked() {
	p := &q.packed
	p.ring.setState(p.first, p.firstState)
	p.moved = min(p.moved+uint32(p.fresh), uint32(q.size)+1)
	p.fresh = 0
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
	return p.published().wants(event(p.ring.driver), moved, uint32(q.size), q.eventIdx)
}

// published is where the driver finds no more completions.
func (p *packedDevice) published() cursor {
	at := p.used
	at.back(p.fresh, uint16(len(p.slots)))
	return at
}
