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
	Head     uint16   // identifies the buffer in Push: its head descriptor, or in a packed ring a number of ours
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

// Work is how much the chains popped since ResetViews took, in those steps.
func (q *Device) Work() int { return q.work }

// Pop takes the next of the Pending chains, or returns false if there is none, the
// ring has a fault or is Exhausted. A chain that breaks a rule faults the ring.
func (q *Device) Pop(c *Chain) bool {
	if q.PopBurst(q.single[:]) == 0 {
		return false
	}
	*c = q.single[0]
	return true
}

// PopBurst takes as many of the Pending chains as chains has room for, in ring
// order, and returns how many. It is Pop for a burst, with the descriptors on
// their way from the other core's cache before the first is looked at.
func (q *Device) PopBurst(chains []Chain) int {
	n := min(len(chains), q.Pending())
	if n == 0 {
		return 0
	}
	n = q.format.pop(chains[:n])
	if q.track != nil {
		for i := range chains[:n] {
			q.track.take(chains[i].Head)
		}
	}
	return n
}

// PrefetchRead asks for the first cache lines of the views popped since
// ResetViews, which are about to be read.
func (q *Device) PrefetchRead() { mem.PrefetchRead(q.views, prefetchLines) }

// PrefetchWrite is PrefetchRead for views that are about to be written.
func (q *Device) PrefetchWrite() { mem.PrefetchWrite(q.views, prefetchLines) }

// Lines fetched ahead of each view: header and headers. The processor follows by
// itself where a copy goes on after them.
const prefetchLines = 2

// popSimple takes a chain of one direct descriptor in the region hit last, which
// is what nearly all frames are. It returns false, with nothing changed, for
// every other chain, broken ones included.
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
func (q *Device) popElsewhere(c *Chain, head uint16, d Desc) bool {
	return d.Flags&(DescNext|DescIndirect) == 0 && q.mem.Near(mem.GPA(d.Addr), &q.region) && q.popSimple(c, head, d)
}
