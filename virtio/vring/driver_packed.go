package vring

// packedDriver is a packed ring as its driver side sees it.
type packedDriver struct {
	ring  packed
	avail cursor // where the next descriptor goes
	used  cursor // where to look for the next completion

	first      uint16 // slot of the first descriptor that is not published
	firstState uint32 // its id and flags, which publish all of them
	fresh      uint16 // slots filled since the last Publish
	moved      uint32 // slots published since the last decision on a kick, at most a lap and one

	// What Completed saw. A buffer says how many slots its completion skips, and to
	// look at the next one means to know that: the device's answers are read once.
	done   []done
	taken  int   // of done, handed out
	broken Fault // of the completion behind them, if any
}

// done is a completion that was checked.
type done struct {
	head, parts uint16
	len         uint32
}

func (q *Driver) initPacked(desc, driver, device []byte) (err error) {
	p := &q.packed
	p.avail, p.used = cursorAt(FirstSlot), cursorAt(FirstSlot)
	p.done = make([]done, 0, q.size)
	p.ring, err = packedRing(int(q.size), desc, driver, device)
	return err
}

// addPacked writes a buffer into the next slots.
func (q *Driver) addPacked(head uint16, read, write []Part) {
	n := len(read) + len(write)
	var writable uint32
	next := head
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
		}
		if k == 0 {
			q.offerPacked(head, d)
		} else {
			q.fillPacked(head, d)
		}
		next = q.next[next]
	}
	q.hold(head, uint16(n), next, writable)
}

// offerPacked writes the first descriptor of a buffer. Id and flags of the first
// since Publish stay back: the device looks at none behind it before.
func (q *Driver) offerPacked(head uint16, d Desc) {
	if q.nextAvail != q.published {
		q.fillPacked(head, d)
		return
	}
	p := &q.packed
	p.ring.setBuffer(p.avail.at, d.Addr, d.Len)
	p.first, p.firstState = p.avail.at, stateOf(head, d.Flags|p.avail.availFlags())
	p.fresh++
	p.avail.advance(1, q.size)
}

// fillPacked writes a whole descriptor into the next slot.
func (q *Driver) fillPacked(head uint16, d Desc) {
	p := &q.packed
	p.ring.set(p.avail.at, d.Addr, d.Len, stateOf(head, d.Flags|p.avail.availFlags()))
	p.fresh++
	p.avail.advance(1, q.size)
}

// fillPackedTable writes a buffer into an indirect table (2.8.7).
func fillPackedTable(t packed, read, write []Part) (writable uint32) {
	for k := range len(read) + len(write) {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		t.set(uint16(k), d.Addr, d.Len, stateOf(0, d.Flags))
	}
	return writable
}

func (q *Driver) publishPacked() {
	p := &q.packed
	p.ring.setState(p.first, p.firstState)
	p.moved = min(p.moved+uint32(p.fresh), uint32(q.size)+1)
	p.fresh = 0
}

func (q *Driver) needKickPacked() bool {
	p := &q.packed
	at := p.avail
	at.back(p.fresh, q.size) // as the device sees it
	moved := p.moved
	p.moved = 0
	return at.wants(event(p.ring.device), moved, uint32(q.size), q.eventIdx)
}

// completedPacked checks and notes what the device has finished with since the last
// look. A name counts as outstanding until it is noted.
func (q *Driver) completedPacked() int {
	p := &q.packed
	for p.broken == noFault {
		state := p.ring.state(p.used.at)
		if !p.used.isUsed(uint16(state >> 16)) {
			break
		}
		id, n := state&0xffff, p.ring.length(p.used.at)
		q.seenUsed++
		if p.broken = q.check(id, &n); p.broken != noFault {
			break
		}
		p.note(done{uint16(id), q.parts[id], n})
		p.used.advance(q.parts[id], q.size)
		q.parts[id] = 0
	}
	return int(q.seenUsed - q.nextUsed)
}

// note appends to done, which never holds more than a ring's worth.
func (p *packedDriver) note(d done) {
	if p.taken > 0 && len(p.done) == cap(p.done) {
		p.done = p.done[:copy(p.done, p.done[p.taken:])]
		p.taken = 0
	}
	p.done = append(p.done, d)
}

func (q *Driver) takePacked(u *Used) bool {
	p := &q.packed
	if p.taken == len(p.done) {
		q.fault = p.broken
		return false
	}
	d := p.done[p.taken]
	if p.taken++; p.taken == len(p.done) {
		p.done, p.taken = p.done[:0], 0
	}
	q.nextUsed++
	q.parts[d.head] = d.parts
	q.release(d.head)
	u.Head, u.Len = d.head, d.len
	return true
}
