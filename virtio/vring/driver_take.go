package vring

// What the device has completed: how the driver side sees, checks and takes it.

// Completed looks once for finished buffers (acquire) and returns how many can be
// taken. An impossible index faults the ring.
func (q *Driver) Completed() int {
	if q.fault != nil {
		return 0
	}
	if q.broken == noFault {
		q.format.look()
	}
	if q.fault != nil {
		return 0
	}
	return int(q.seenUsed - q.nextUsed)
}

// note notes a completion that names the buffer id and says that the device has written n
// bytes into it. There are at most unseen of them. It returns how many slots, or
// descriptors, were completed; none if the completion is broken.
func (q *Driver) note(id, n uint32, unseen int) (slots uint16) {
	if q.order != nil {
		if slots = q.noteSkipped(id, unseen); q.broken != noFault {
			q.seenUsed++
			return 0
		}
	}
	q.seenUsed++
	if q.broken = q.check(id, &n); q.broken != noFault {
		return 0
	}
	return slots + q.noteOne(uint16(id), n)
}

// noteSkipped notes the buffers before id, which were completed without a word (2.7.9): all
// of what the device may write to in them is written.
func (q *Driver) noteSkipped(id uint32, unseen int) (slots uint16) {
	end := q.oldest
	for k := 0; uint32(q.order[end]) != id; k++ {
		if end = (end + 1) % q.size; k+1 >= unseen {
			q.broken = FaultUsedOrder
			return 0
		}
	}
	for ; q.oldest != end; q.oldest = (q.oldest + 1) % q.size {
		head := q.order[q.oldest]
		q.seenUsed++
		slots += q.noteOne(head, q.writable[head])
	}
	q.oldest = (q.oldest + 1) % q.size
	return slots
}

// noteOne appends to done, which never holds more than a ring's worth. A name does not
// count as outstanding until it is taken.
func (q *Driver) noteOne(head uint16, n uint32) (slots uint16) {
	if q.taken > 0 && len(q.done) == cap(q.done) {
		q.done = q.done[:copy(q.done, q.done[q.taken:])]
		q.taken = 0
	}
	slots = q.parts[head]
	q.done = append(q.done, Used{head, slots, n})
	q.parts[head] = 0
	return slots
}

// unseen is how many outstanding buffers no completion was seen of.
func (q *Driver) unseen() int { return int(q.inUse - (q.seenUsed - q.nextUsed)) }

// Take hands out the next buffer that the last Completed saw, or false. The
// device's answer is checked: the head is outstanding and Len fits the buffer.
func (q *Driver) Take(u *Used) bool {
	if q.fault != nil || q.seenUsed == q.nextUsed {
		return false
	}
	if q.taken == len(q.done) {
		q.fault = q.broken
		return false
	}
	d := q.done[q.taken]
	if q.taken++; q.taken == len(q.done) {
		q.done, q.taken = q.done[:0], 0
	}
	q.nextUsed++
	q.parts[d.Head] = d.parts
	q.release(d.Head)
	u.Head, u.Len = d.Head, d.Len
	return true
}

// Finished are those that the next Takes give, of what the last Completed saw. They are
// valid until the next call but Publish.
func (q *Driver) Finished() []Used {
	if q.fault != nil {
		return nil
	}
	return q.done[q.taken:]
}

// check is the fault of a device that says that it has finished with the buffer id
// and wrote n bytes into it.
func (q *Driver) check(id uint32, n *uint32) Fault {
	if id >= uint32(q.size) || q.parts[id] == 0 {
		return FaultUsedID
	}
	switch w := q.writable[id]; {
	case w == 0:
		*n = 0 // some devices report what they read, against 2.7.8.2
	case *n > w && q.anyUsedLen:
		*n = w
	case *n > w:
		return FaultUsedLen
	}
	return noFault
}

// release puts the descriptors of a chain back on the free list. With IN_ORDER they are
// used in the order of the table (2.7.5.1), and never leave their list.
func (q *Driver) release(head uint16) {
	if q.order == nil {
		last := head
		for range q.parts[head] - 1 {
			last = q.next[last]
		}
		q.next[last] = q.freeHead
		q.freeHead = head
	}
	q.free += q.parts[head]
	q.parts[head] = 0
	q.inUse--
}
