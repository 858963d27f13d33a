package vring

// splitDevice is a split ring as its device side sees it.
type splitDevice struct {
	desc  table
	avail avail
	used  used
}

func (q *Device) initSplit(nextAvail uint16, desc, av, us []byte) (err error) {
	s := &q.split
	if s.desc, s.avail, s.used, err = rings(int(q.size), desc, av, us); err != nil {
		return err
	}
	q.nextAvail, q.seenAvail = nextAvail, nextAvail
	q.nextUsed = load16(s.used.idx())
	q.published = q.nextUsed
	q.lead = q.nextAvail - q.nextUsed
	return nil
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

func (q *Device) popSplit(c *Chain) bool {
	// A plain load: Available's acquire ordered it. The value is used once read.
	head := *q.split.avail.entry(q.nextAvail)
	if head >= q.size {
		q.Fail(FaultHead)
		return false
	}
	if !q.popSimple(c, head, q.split.desc.get(head)) && !q.popChain(c, head) {
		return false
	}
	q.nextAvail++
	return true
}

func (q *Device) needSignalSplit() bool {
	if !q.eventIdx {
		return load16(q.split.avail.flags())&availNoInterrupt == 0
	}
	old, valid := q.signalledUsed, q.signalledValid
	q.signalledUsed, q.signalledValid = q.published, true
	return !valid || crosses(load16(q.split.avail.usedEvent()), q.published, old)
}
