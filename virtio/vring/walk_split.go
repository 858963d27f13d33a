package vring

// follow follows the descriptors of a chain from head. Every descriptor is copied once.
func (q *splitDevice) follow(w *walk, head uint16) Fault {
	limit := min(int(q.size), MaxChain)
	for i := head; ; limit-- {
		if limit == 0 {
			return FaultLoop
		}
		d := q.desc.get(i)
		if d.Flags&DescIndirect != 0 {
			return q.followTable(w, d)
		}
		if fault := w.add(d); fault != noFault {
			return fault
		}
		if d.Flags&DescNext == 0 {
			return noFault
		}
		if i = d.Next; i >= q.size {
			return FaultNext
		}
	}
}

// followTable follows an indirect table (2.7.5.3), which ends its chain. The write flag
// of the descriptor that refers to it has no meaning (2.7.5.3.2).
func (q *splitDevice) followTable(w *walk, d Desc) Fault {
	if d.Flags&DescNext != 0 && q.indirect {
		return FaultIndirectNext
	}
	private, fault := q.copyTable(d)
	if fault != noFault {
		return fault
	}
	n := len(private) / DescSize
	limit := n
	for i := 0; ; limit-- {
		if limit == 0 {
			return FaultLoop
		}
		d := descAt(private, i)
		if d.Flags&DescIndirect != 0 {
			return FaultIndirectNest
		}
		if fault := w.add(d); fault != noFault {
			return fault
		}
		if d.Flags&DescNext == 0 {
			return noFault
		}
		if i = int(d.Next); i >= n {
			return FaultNext
		}
	}
}
