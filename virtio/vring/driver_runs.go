package vring

// Many buffers at a time, for who has a descriptor's memory and nothing else to say of each.

// AddReads offers buffers of one part that the device reads, as Add does, and returns how
// many: fewer than len(parts) if the ring is full, none if it has a fault. NextHeads says
// beforehand what their heads are.
func (q *Driver) AddReads(parts []Part) int {
	n := min(len(parts), int(q.free))
	if q.fault != nil || n == 0 {
		return 0
	}
	head := q.freeHead
	if q.order != nil {
		for range n {
			q.order[q.newest] = head
			q.newest = (q.newest + 1) % q.size
			head = q.next[head]
		}
	}
	q.freeHead = q.format.addEach(q.freeHead, parts[:n])
	q.free -= uint16(n)
	q.inUse += uint16(n)
	q.nextAvail += uint16(n)
	return n
}

// Renew takes the next k of Finished and offers each again as it was, under its name. It
// returns how many: fewer if there are no more, if the next one is none of one part that the
// device writes, or with IN_ORDER, where descriptors have their order. Take and Add do the
// rest.
func (q *Driver) Renew(k int) int {
	if q.fault != nil || q.order != nil {
		return 0
	}
	k = q.format.renew(q.done[q.taken:][:min(k, len(q.done)-q.taken)])
	if q.taken += k; q.taken == len(q.done) {
		q.done, q.taken = q.done[:0], 0
	}
	q.nextUsed += uint16(k)
	q.nextAvail += uint16(k)
	return k
}

// TakeAll is Take for all of what the last Completed saw, whatever it was. It returns how
// many buffers there were.
func (q *Driver) TakeAll() (n int) {
	var u Used
	if q.order != nil {
		for q.Take(&u) {
			n++
		}
		return n
	}
	if q.fault != nil {
		return 0
	}
	all := q.done[q.taken:]
	free, head := q.free, q.freeHead
	for i := range all {
		first, parts := all[i].Head, all[i].parts
		last := first
		for range parts - 1 {
			last = q.next[last]
		}
		q.next[last] = head
		head = first
		free += parts
	}
	n = len(all)
	q.free, q.freeHead = free, head
	q.inUse -= uint16(n)
	q.nextUsed += uint16(n)
	q.done, q.taken = q.done[:0], 0
	if q.seenUsed != q.nextUsed {
		q.fault = q.broken
	}
	return n
}

// noteQuick is note for a completion of a ring without IN_ORDER that is as it should be. It
// returns 0 for any other.
func (q *Driver) noteQuick(id, n uint32) (slots uint16) {
	if id >= uint32(len(q.parts)) || q.order != nil {
		return 0
	}
	slots = q.parts[id]
	if slots == 0 || n > q.writable[id] || len(q.done) == cap(q.done) {
		return 0
	}
	q.done = append(q.done, Used{uint16(id), slots, n})
	q.parts[id] = 0
	q.seenUsed++
	return slots
}
