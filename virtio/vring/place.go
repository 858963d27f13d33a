package vring

import (
	"fmt"

	"vvufwd/virtio/mem"
)

// Place is where a ring and its buffers lie in our address space: a view of the guest's
// memory, and in it the ring's three parts. It is never changed.
type Place struct {
	mem *mem.Table

	split splitPlace // one of them
	ring  packed
}

// splitPlace is a split ring's three parts.
type splitPlace struct {
	desc  table
	avail avail
	used  used
}

// newPlace finds the parts of a ring in guest memory and checks that they lie there whole
// and aligned.
func newPlace(size int, packed bool, t *mem.Table, at [3]mem.GPA) (*Place, error) {
	p := &Place{mem: t}
	var parts [3][]byte
	descBytes, availBytes, usedBytes := Areas(size, packed)
	for i, n := range []int{descBytes, availBytes, usedBytes} {
		var ok bool
		if parts[i], ok = t.View(at[i], uint64(n)); !ok {
			return nil, fmt.Errorf("%s of %d bytes at %#x: %w", AreaNames(packed)[i], n, at[i], FaultUnmapped)
		}
	}
	var err error
	if packed {
		p.ring, err = packedRing(size, parts[0], parts[1], parts[2])
	} else {
		p.split.desc, p.split.avail, p.split.used, err = rings(size, parts[0], parts[1], parts[2])
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Place finds this ring in another view of the guest's memory, in which its parts may
// have other addresses. Whoever owns the ring may be at work meanwhile: nothing of it
// that changes is looked at.
func (q *Device) Place(t *mem.Table, desc, avail, used mem.GPA) (*Place, error) {
	return q.format.placeIn(t, [3]mem.GPA{desc, avail, used})
}

// Move makes the ring go on at p, which its Place returned: in the same state, reading
// and writing there, with the same contents. Nothing that was popped may be unpushed:
// its views are in the old place. When Move returns nothing touches that any more.
func (q *Device) Move(p *Place) {
	q.mem, q.region, q.views = p.mem, mem.Region{}, q.views[:0]
	q.format.move(p)
}
