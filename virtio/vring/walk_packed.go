package vring

// follow takes the descriptors of the chain at pops, as they were noted. The id that names
// the chain is in the last (2.8.6).
func (q *packedDevice) follow(w *walk) (id uint16, fault Fault) {
	at := q.pops
	count := q.slots[at.at].count
	for range count {
		s := &q.slots[at.at]
		var d Desc
		d, id = packedDesc(s.addr, s.rest)
		switch {
		case d.Flags&DescIndirect == 0:
			fault = w.add(d)
		case count > 1 && q.indirect: // 2.8.19: none in a chain
			fault = FaultIndirectChain
		default:
			fault = q.followTable(w, d)
		}
		if fault != noFault {
			return 0, fault
		}
		at.advance(1, q.size)
	}
	return id, noFault
}

// followTable takes the buffers of an indirect table, one after the other: its length
// says how many there are, and of their flags only write has a meaning (2.8.7).
func (q *packedDevice) followTable(w *walk, d Desc) Fault {
	private, fault := q.copyTable(d)
	if fault != noFault {
		return fault
	}
	for i := range len(private) / DescSize {
		d, _ := packedTable(private).get(uint16(i))
		if q.readOnly {
			d.Flags &^= DescWrite
		}
		if fault := w.add(d); fault != noFault {
			return fault
		}
	}
	return noFault
}
