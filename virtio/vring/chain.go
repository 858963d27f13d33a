package vring

import "vvufwd/virtio/mem"

// Chain is one buffer that the driver offered: views of its readable and its
// writable parts, in order. They point into guest memory, which the guest can
// change at any time: copy, then check, then use.
type Chain struct {
	Read     [][]byte // device-readable parts, none empty
	Write    [][]byte // device-writable parts, none empty
	ReadLen  uint32   // bytes in Read
	WriteLen uint32   // bytes in Write
	Head     uint16   // identifies the buffer in Push: its head descriptor, or its first slot in a packed ring
}

// ResetViews gives up the views of all chains popped so far, reuses their backing
// store, and forgets the work that they took. Call it when the last of them is no
// longer looked at, and before each burst.
func (q *Device) ResetViews() { q.views, q.work = q.views[:0], 0 }

// maxWork bounds the work on the chains popped between two ResetViews, in steps of
// some nanoseconds: two for a descriptor, one for each of an indirect table, one for
// each region that a buffer crosses into. A burst of ordinary chains takes less. A
// guest can offer one endless chain over and over at no cost of its own, and who
// pops it serves other guests too.
const maxWork = 8 * MaxChain

// Exhausted reports whether chains remain unpopped, for the time until ResetViews,
// because those popped already took so much work.
func (q *Device) Exhausted() bool { return q.work >= maxWork }

// Pop takes the next of the Pending chains, or returns false if there is none, the
// ring has a fault or is Exhausted. A chain that breaks a rule faults the ring.
func (q *Device) Pop(c *Chain) bool {
	return q.seenAvail != q.nextAvail && q.pop(one(c)) == 1
}

func (q *Device) pop(chains []Chain) (n int) {
	if q.isPacked {
		n = q.popPacked(chains)
	} else {
		n = q.popSplit(chains)
	}
	if q.track != nil {
		for i := range chains[:n] {
			q.track.take(q, chains[i].Head)
		}
	}
	return n
}

// PopBurst takes as many of the Pending chains as chains has room for, in ring
// order, and returns how many. It is Pop for a burst, with the descriptors on
// their way from the other core's cache before the first is looked at.
func (q *Device) PopBurst(chains []Chain) int {
	n := min(len(chains), int(q.seenAvail-q.nextAvail))
	switch {
	case n <= 1:
	case q.isPacked:
		// Available has read the descriptors. They come with the right to write to
		// them, for the completions.
		q.packed.ring.prefetch(q.packed.pop.at, q.size, n)
	default:
		prefetchHeads(q.split.desc.base, q.split.avail.entry(0), q.nextAvail, q.size-1, n)
		prefetchUsed(q.split.used.elements(), q.nextUsed, q.size-1, n)
	}
	return q.pop(chains[:n])
}

// PrefetchRead asks for the first cache lines of the views popped since
// ResetViews, which are about to be read.
func (q *Device) PrefetchRead() { mem.PrefetchRead(q.views, prefetchLines) }

// PrefetchWrite is PrefetchRead for views that are about to be written.
func (q *Device) PrefetchWrite() { mem.PrefetchWrite(q.views, prefetchLines) }

// Lines fetched ahead of each view: header and headers. The processor follows by
// itself where a copy goes on behind them.
const prefetchLines = 2

// popSimple takes a chain of one direct descriptor in the region hit last, which
// is what nearly all frames are. It returns false, with nothing changed, for
// every other chain, broken ones included: popChain looks at those.
func (q *Device) popSimple(c *Chain, head uint16, d Desc) bool {
	view, ok := q.region.View(mem.GPA(d.Addr), d.Len)
	n := len(q.views)
	if !ok || d.Flags&(DescNext|DescIndirect) != 0 || n == cap(q.views) {
		return false
	}
	q.views = q.views[:n+1]
	q.views[n] = view
	c.Head = head
	if d.Flags&DescWrite == 0 {
		c.Read, c.ReadLen = q.views[n:n+1:n+1], d.Len
		c.Write, c.WriteLen = nil, 0
	} else {
		c.Read, c.ReadLen = nil, 0
		c.Write, c.WriteLen = q.views[n:n+1:n+1], d.Len
	}
	return true
}

// popElsewhere is popSimple for a chain in another region than the one hit last: a
// guest's buffers may lie in hundreds of them.
func (q *Device) popElsewhere(c *Chain, head uint16) bool {
	var d Desc
	if !q.isPacked {
		d = q.split.desc.get(head)
	} else if s := &q.packed.slots[head]; s.count == 1 {
		d, s.id = q.packed.ring.get(head)
	} else {
		return false
	}
	return d.Flags&(DescNext|DescIndirect) == 0 && q.mem.Near(mem.GPA(d.Addr), &q.region) && q.popSimple(c, head, d)
}

// popChain takes any chain. Descriptors are read anew, so nothing that popSimple
// saw is relied on.
func (q *Device) popChain(c *Chain, head uint16) bool {
	if q.popElsewhere(c, head) {
		return true
	}
	if q.Exhausted() {
		return false
	}
	w := walk{q: q, start: len(q.views), readEnd: -1}
	var fault Fault
	if q.isPacked {
		fault = w.packed(head)
	} else {
		fault = w.chain(head)
	}
	if fault != noFault {
		q.views = q.views[:w.start]
		q.Fail(fault)
		return false
	}
	end := len(q.views)
	if w.readEnd < 0 {
		w.readEnd = end
	}
	c.Head = head
	c.Read = q.views[w.start:w.readEnd:w.readEnd]
	c.Write = q.views[w.readEnd:end:end]
	c.ReadLen, c.WriteLen = w.readLen, w.writeLen
	return true
}
