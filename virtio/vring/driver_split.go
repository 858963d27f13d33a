package vring

// splitDriver is a split ring as its driver side sees it.
type splitDriver struct {
	desc  table
	avail avail
	used  used
}

// addSplit writes a buffer into the descriptors that come next on the free list. It
// returns the number of bytes that the device may write.
func (q *Driver) addSplit(head uint16, read, write []Part) (writable uint32) {
	n := len(read) + len(write)
	i := head
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = q.next[i]
		}
		q.split.desc.set(i, d)
		i = q.next[i]
	}
	*q.split.avail.entry(q.nextAvail) = head
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

func (q *Driver) completedSplit() int {
	idx := load16(q.split.used.idx())
	done := idx - q.nextUsed
	if done > q.inUse {
		q.fault = FaultUsedIndex
		return 0
	}
	q.seenUsed = idx
	return int(done)
}

func (q *Driver) takeSplit(u *Used) bool {
	id, n := q.split.used.get(q.nextUsed)
	if fault := q.check(id, &n); fault != noFault {
		q.fault = fault
		return false
	}
	q.nextUsed++
	head := uint16(id)
	q.release(head)
	u.Head, u.Len = head, n
	return true
}
