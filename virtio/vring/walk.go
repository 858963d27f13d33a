package vring

import "vvufwd/virtio/mem"

// walk gathers the views of one chain.
type walk struct {
	q        *Device
	start    int // index in q.views of the chain's first view
	readEnd  int // index in q.views of its first writable view, -1 before one is met
	readLen  uint32
	writeLen uint32
}

// walk begins a walk.
func (q *Device) walk() walk { return walk{q: q, start: len(q.views), readEnd: -1} }

// end makes a chain of what was gathered, or if there was a fault undoes that.
func (w *walk) end(c *Chain, head uint16, fault Fault) bool {
	q := w.q
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

// copyTable copies the indirect table that d refers to into private memory, piecewise
// where it crosses regions. A table may be longer than its ring: 2.7.5.3.1 forbids that, and yet
// drivers with short rings may do it (Linux's rings let them), and QEMU and vhost serve those.
func (q *Device) copyTable(d Desc) ([]byte, Fault) {
	n := int(d.Len / DescSize)
	switch {
	case !q.indirect:
		return nil, FaultIndirect
	case d.Len%DescSize != 0 || n == 0 || n > MaxChain:
		return nil, FaultIndirectSize
	}
	if cap(q.table) < int(d.Len) {
		q.table = make([]byte, 0, TableBytes(MaxChain)) // once in a ring's life
	}
	q.work += n
	private := q.table[:d.Len]
	addr := mem.GPA(d.Addr)
	for done := 0; done < len(private); {
		piece := q.mem.Prefix(addr+mem.GPA(done), uint32(len(private)-done), &q.region)
		if len(piece) == 0 {
			return nil, FaultUnmapped
		}
		done += copy(private[done:], piece)
	}
	return private, noFault
}

// maxPieces is how many views a chain has at most: each of the most buffers may cross a
// border of two regions. Without a bound a chain could take half a million, with hundreds of
// tiny regions in all of which each of a thousand buffers lies.
const maxPieces = 2 * MaxChain

// add appends the views of one buffer, split where it crosses regions. Empty
// buffers are skipped: they are legal, and useless.
func (w *walk) add(d Desc) Fault {
	q := w.q
	q.work++
	if d.Flags&DescWrite != 0 {
		if w.readEnd < 0 {
			w.readEnd = len(q.views)
		}
		if w.writeLen+d.Len < d.Len {
			return FaultLength
		}
		w.writeLen += d.Len
	} else {
		if w.readEnd >= 0 {
			return FaultOrder
		}
		if w.readLen+d.Len < d.Len {
			return FaultLength
		}
		w.readLen += d.Len
	}
	addr, rest := mem.GPA(d.Addr), d.Len
	for rest > 0 {
		piece := q.mem.Prefix(addr, rest, &q.region)
		if len(piece) == 0 {
			return FaultUnmapped
		}
		if len(q.views)-w.start == maxPieces {
			return FaultPieces
		}
		q.views = append(q.views, piece)
		q.work++
		addr += mem.GPA(len(piece))
		rest -= uint32(len(piece))
	}
	return noFault
}
