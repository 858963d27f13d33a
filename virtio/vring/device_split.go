package vring

import "vvufwd/virtio/order"

// splitDevice is a split ring as its device side sees it.
type splitDevice struct{ splitPlace }

func (q *Device) initSplit(nextAvail uint16) {
	s := &q.split
	q.nextAvail, q.seenAvail = nextAvail, nextAvail
	q.nextUsed = load16(s.used.idx())
	q.published = q.nextUsed
	q.lead = q.nextAvail - q.nextUsed
	q.offered = nextAvail != 0
}

func (q *Device) availableSplit() int {
	idx := load16(q.split.avail.idx())
	waiting := idx - q.nextAvail
	if waiting > q.size {
		q.Fail(FaultAvailIndex)
		return 0
	}
	q.seenAvail = idx
	return int(waiting)
}

func (q *Device) popSplit(chains []Chain) int {
	avail, desc := q.split.avail, q.split.desc
	for i := range chains {
		// A plain load: Available's acquire ordered it. The value is used once read.
		head := *avail.entry(q.nextAvail)
		if head >= q.size {
			q.Fail(FaultHead)
			return i
		}
		if c := &chains[i]; !q.popSimple(c, head, desc.get(head)) && !q.popChain(c, head) {
			return i
		}
		q.nextAvail++
	}
	return len(chains)
}

func (q *Device) publishSplit() {
	used, at := q.split.used, q.published
	for _, c := range q.pushed {
		used.put(at, uint32(c.head), c.written)
		at++
	}
	order.StoreRelease16(used.idx(), at)
}

func (q *Device) needSignalSplit() bool {
	if !q.eventIdx {
		return load16(q.split.avail.flags())&availNoInterrupt == 0
	}
	old, valid := q.signalledUsed, q.signalledValid
	q.signalledUsed, q.signalledValid = q.published, true
	return !valid || crosses(load16(q.split.avail.usedEvent()), q.published, old)
}
