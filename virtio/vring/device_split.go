package vring

import (
	"vvufwd/virtio/mem"
	"vvufwd/virtio/order"
)

// splitDevice is the device side of a split ring.
type splitDevice struct {
	Device
	splitPlace
	signalledUsed uint16 // published at the last decision on an interrupt
}

func newSplitDevice(common Device, p *Place, nextAvail uint16) *Device {
	q := &splitDevice{Device: common, splitPlace: p.split}
	q.format, q.short = q, q
	q.nextAvail, q.seenAvail = nextAvail, nextAvail
	q.nextUsed = load16(q.used.idx())
	q.published = q.nextUsed
	q.lead = q.nextAvail - q.nextUsed
	q.offered = nextAvail != 0
	return &q.Device
}

func (q *splitDevice) placeIn(t *mem.Table, at [3]mem.GPA) (*Place, error) {
	return newPlace(int(q.size), false, t, at)
}

func (q *splitDevice) move(p *Place) { q.splitPlace = p.split }

func (q *splitDevice) position() (base uint32, used uint16) { return uint32(q.nextAvail), q.published }

func (q *splitDevice) record(t *Tracker) trackFormat { return &splitTrack{t, q} }

func (q *splitDevice) available() int {
	idx := load16(q.avail.idx())
	waiting := idx - q.nextAvail
	if waiting > q.size {
		q.Fail(FaultAvailIndex)
		return 0
	}
	q.seenAvail = idx
	return int(waiting)
}

func (q *splitDevice) pop(chains []Chain) int {
	avail, desc := q.avail, q.desc
	if len(chains) > 1 {
		prefetchHeads(desc.base, avail.entry(0), q.nextAvail, q.size-1, len(chains))
		prefetchUsed(q.used.elements(), q.nextUsed, q.size-1, len(chains))
	}
	for i := range chains {
		// A plain load: Available's acquire ordered it. The value is used once read.
		head := *avail.entry(q.nextAvail)
		if head >= q.size {
			q.Fail(FaultHead)
			return i
		}
		if c := &chains[i]; !q.popSimple(c, head, desc.get(head)) && !q.popOther(c, head) {
			return i
		}
		q.nextAvail++
	}
	return len(chains)
}

// popOther takes any chain. Descriptors are read anew, so nothing that popSimple saw is
// relied on.
func (q *splitDevice) popOther(c *Chain, head uint16) bool {
	if q.popElsewhere(c, head, q.desc.get(head)) {
		return true
	}
	if q.Exhausted() {
		return false
	}
	w := q.walk()
	return w.end(c, head, q.follow(&w, head))
}

func (q *splitDevice) unpop(int) {}

func (q *splitDevice) publish() {
	used, at, written := q.used, q.published, q.pushed
	if q.skips {
		written = q.pushed[len(q.pushed)-1:]
	}
	for i, c := range written {
		used.put(at+uint16(i), uint32(c.head), c.written)
	}
	order.StoreRelease16(used.idx(), at+uint16(len(q.pushed)))
	if q.logging != nil {
		q.logUsed(at, len(written))
	}
}

// logUsed marks what publish wrote: n elements from index at on, and the index.
func (q *splitDevice) logUsed(at uint16, n int) {
	const elements = 4 // offset of the first
	l, size := q.logging, int(q.size)
	l.Memory.Mark(l.Used, elements)
	first := int(at) & (size - 1)
	if rest := size - first; n > rest {
		l.Memory.Mark(l.Used+elements, uint64(usedElem*min(n-rest, size)))
		n = rest
	}
	l.Memory.Mark(l.Used+elements+mem.GPA(usedElem*first), uint64(usedElem*n))
}

func (q *splitDevice) needSignal() bool {
	empty := q.onEmpty && q.nextAvail-q.nextUsed == q.lead && load16(q.avail.idx()) == q.nextAvail
	if !q.eventIdx {
		return empty || load16(q.avail.flags())&availNoInterrupt == 0
	}
	old, valid := q.signalledUsed, q.signalledValid
	q.signalledUsed, q.signalledValid = q.published, true
	return empty || !valid || crosses(load16(q.avail.usedEvent()), q.published, old)
}

func (q *splitDevice) setKicks(wanted bool) {
	switch {
	case !wanted && q.eventIdx:
		// Passed already, and not again for most of 65536 buffers. The wish of a moment ago would bring
		// a kick for the next one, if none has come for it yet.
		order.StoreRelease16(q.used.availEvent(), q.seenAvail-1)
	case !wanted:
		order.StoreRelease16(q.used.flags(), usedNoNotify)
	case q.eventIdx:
		// Not nextAvail: the driver has passed that already if chains are pending.
		order.StoreRelease16(q.used.availEvent(), q.seenAvail)
	default:
		order.StoreRelease16(q.used.flags(), 0)
	}
	if l := q.logging; l != nil {
		l.Memory.Mark(l.Used, 2) // flags
		l.Memory.Mark(l.Used+mem.GPA(UsedBytes(int(q.size))-2), 2)
	}
}
