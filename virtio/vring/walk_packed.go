package vring

// packed follows the chain of a packed ring that begins in a slot, as many
// descriptors as were counted. Every descriptor is copied once. The id that names
// the chain is in the last (2.8.6).
func (w *walk) packed(first uint16) Fault {
	q := w.q
	s := &q.packed.slots[first]
	at := cursor{at: first}
	for range s.count {
		d, id := q.packed.ring.get(at.at)
		fault := noFault
		switch {
		case d.Flags&DescIndirect == 0:
			fault = w.add(d)
		case s.count > 1 && q.indirect: // 2.8.19: none in a chain
			fault = FaultIndirectChain
		default:
			fault = w.packedTable(d)
		}
		if fault != noFault {
			return fault
		}
		s.id = id
		at.advance(1, q.size)
	}
	return noFault
}

// packedTable takes the buffers of an indirect table, one after the other: its length
// says how many there are, and of their flags only write has a meaning (2.8.7).
func (w *walk) packedTable(d Desc) Fault {
	private, fault := w.q.copyTable(d)
	if fault != noFault {
		return fault
	}
	for i := range len(private) / DescSize {
		d, _ := packedTable(private).get(uint16(i))
		if w.q.readOnly {
			d.Flags &^= DescWrite
		}
		if fault := w.add(d); fault != noFault {
			return fault
		}
	}
	return noFault
}
