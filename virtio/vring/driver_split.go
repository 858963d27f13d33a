package vring

import "vvufwd/virtio/order"

// splitDriver is the driver side of a split ring.
type splitDriver struct {
	Driver
	splitPlace
}

func newSplitDriver(common Driver, desc, avail, used []byte) (*Driver, error) {
	q := &splitDriver{Driver: common}
	q.format = q
	var err error
	q.desc, q.avail, q.used, err = rings(int(q.size), desc, avail, used)
	if err != nil {
		return nil, err
	}
	return &q.Driver, nil
}

func (q *splitDriver) add(head uint16, read, write []Part) (writable uint32, next uint16) {
	n := len(read) + len(write)
	next = head
	for k := range n {
		i := next
		next = q.next[i]
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = next
		}
		q.desc.set(i, d)
	}
	*q.avail.entry(q.nextAvail) = head
	return writable, next
}

func (q *splitDriver) addEach(head uint16, parts []Part) (next uint16) {
	at := q.nextAvail
	for i := range parts {
		q.desc.set(head, Desc{Addr: parts[i].Addr, Len: parts[i].Len})
		*q.avail.entry(at) = head
		q.parts[head], q.writable[head] = 1, 0
		at++
		head = q.next[head]
	}
	return head
}

// renew leaves descriptors as they are: no one else writes them, and who does harms itself.
func (q *splitDriver) renew(taken []Used) int {
	at := q.nextAvail
	for i := range taken {
		u := &taken[i]
		if u.parts != 1 || q.writable[u.Head] == 0 {
			return i
		}
		*q.avail.entry(at) = u.Head
		q.parts[u.Head] = 1
		at++
	}
	return len(taken)
}

func (q *splitDriver) addTable(head uint16, table []byte, at uint64, read, write []Part) (writable uint32) {
	writable = fillTable(tableOf(table), read, write)
	q.desc.set(head, Desc{Addr: at, Len: uint32(len(table)), Flags: DescIndirect})
	*q.avail.entry(q.nextAvail) = head
	return writable
}

// fillTable writes a buffer into an indirect table (2.7.5.3).
func fillTable(t table, read, write []Part) (writable uint32) {
	n := len(read) + len(write)
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = uint16(k + 1)
		}
		t.set(uint16(k), d)
	}
	return writable
}

func (q *splitDriver) publish() { order.StoreRelease16(q.avail.idx(), q.nextAvail) }

func (q *splitDriver) needKick(old uint16) bool {
	if !q.eventIdx {
		return load16(q.used.flags())&usedNoNotify == 0
	}
	return crosses(load16(q.used.availEvent()), q.published, old)
}

func (q *splitDriver) look() {
	idx := load16(q.used.idx())
	if fresh := idx - q.seenUsed; int(fresh) > q.unseen() {
		q.fault = FaultUsedIndex
		return
	}
	for q.seenUsed != idx && q.broken == noFault {
		id, n := q.used.get(q.seenUsed)
		if q.noteQuick(id, n) == 0 {
			q.note(id, n, int(idx-q.seenUsed))
		}
	}
}

func (q *splitDriver) setInterrupts(wanted bool) {
	switch {
	case !wanted && q.eventIdx:
		// Passed already, see splitDevice.setKicks.
		order.StoreRelease16(q.avail.usedEvent(), q.nextUsed-1)
	case !wanted:
		order.StoreRelease16(q.avail.flags(), availNoInterrupt)
	case q.eventIdx:
		order.StoreRelease16(q.avail.usedEvent(), q.nextUsed)
	default:
		order.StoreRelease16(q.avail.flags(), 0)
	}
}
