package vring

// packedDriver is the driver side of a packed ring.
type packedDriver struct {
	Driver
	ring  packed
	avail cursor // where the next descriptor goes
	used  cursor // where to look for the next completion

	at []uint64 // of buffers of one part that the device writes, that part's address, by name; or inTable

	first      uint16 // slot of the first descriptor that is not published
	firstState uint32 // its id and flags, which publish all of them
	fresh      uint16 // slots filled since the last Publish
	moved      uint32 // slots published since the last decision on a kick, at most a lap and one
}

// inTable is no buffer's address.
const inTable = ^uint64(0)

func newPackedDriver(common Driver, desc, driver, device []byte) (*Driver, error) {
	ring, err := packedRing(int(common.size), desc, driver, device)
	if err != nil {
		return nil, err
	}
	q := &packedDriver{Driver: common, ring: ring, avail: cursorAt(FirstSlot), used: cursorAt(FirstSlot), at: make([]uint64, common.size)}
	q.format = q
	return &q.Driver, nil
}

// add writes the parts into the next slots.
func (q *packedDriver) add(head uint16, read, write []Part) (writable uint32, next uint16) {
	n := len(read) + len(write)
	next = head
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
			q.at[head] = d.Addr
		}
		if k < n-1 {
			d.Flags |= DescNext
		}
		q.offer(head, d)
		next = q.next[next]
	}
	return writable, next
}

func (q *packedDriver) addEach(head uint16, parts []Part) (next uint16) {
	for i := range parts {
		q.offer(head, Desc{Addr: parts[i].Addr, Len: parts[i].Len})
		q.parts[head], q.writable[head] = 1, 0
		head = q.next[head]
	}
	return head
}

func (q *packedDriver) renew(taken []Used) int {
	for i := range taken {
		u := &taken[i]
		n := q.writable[u.Head]
		if u.parts != 1 || n == 0 || q.at[u.Head] == inTable {
			return i
		}
		q.offer(u.Head, Desc{Addr: q.at[u.Head], Len: n, Flags: DescWrite})
		q.parts[u.Head] = 1
	}
	return len(taken)
}

func (q *packedDriver) addTable(head uint16, table []byte, at uint64, read, write []Part) (writable uint32) {
	writable = fillPackedTable(packedTable(table), read, write)
	q.offer(head, Desc{Addr: at, Len: uint32(len(table)), Flags: DescIndirect})
	q.at[head] = inTable
	return writable
}

// offer writes a descriptor into the next slot. Id and flags of the first since Publish
// stay back: the device looks at none after it before.
func (q *packedDriver) offer(head uint16, d Desc) {
	at, state := q.avail.at, stateOf(head, d.Flags|q.avail.availFlags())
	if q.fresh == 0 {
		q.ring.setBuffer(at, d.Addr, d.Len)
		q.first, q.firstState = at, state
	} else {
		q.ring.set(at, d.Addr, d.Len, state)
	}
	q.fresh++
	q.avail.advance(1, q.size)
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

func (q *packedDriver) publish() {
	q.ring.setState(q.first, q.firstState)
	q.moved = min(q.moved+uint32(q.fresh), uint32(q.size)+1)
	q.fresh = 0
}

func (q *packedDriver) needKick(uint16) bool {
	at := q.avail
	at.back(q.fresh, q.size) // as the device sees it
	moved := q.moved
	q.moved = 0
	return at.wants(event(q.ring.device), moved, uint32(q.size), q.eventIdx)
}

func (q *packedDriver) look() {
	for q.broken == noFault {
		state := q.ring.state(q.used.at)
		if !q.used.isUsed(uint16(state >> 16)) {
			break
		}
		id, n := state&0xffff, q.ring.length(q.used.at)
		slots := q.noteQuick(id, n)
		if slots == 0 {
			slots = q.note(id, n, q.unseen())
		}
		q.used.advance(slots, q.size)
	}
}

func (q *packedDriver) setInterrupts(wanted bool) {
	switch {
	case !wanted:
		setEvent(q.ring.driver, 0, EventDisable)
	case q.eventIdx:
		setEvent(q.ring.driver, q.used.word(), EventDesc)
	default:
		setEvent(q.ring.driver, 0, eventEnable)
	}
}
