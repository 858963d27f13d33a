package vring

// splitDriver is a split ring as its driver side sees it.
type splitDriver struct {
	desc  table
	avail avail
	used  used
}

// fillTable writes a buffer into an indirect table (2.7.5.3).
func fillTable(t table, read, write []Part) (writable uint32) {
	n := len(read) + len(write)
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = uint16(k + 1)
		}
		t.set(uint16(k), d)
	}
	return writable
}
