package mem

import "unsafe"

// Owns reports whether addr, an address of this process, lies in one of the
// regions. It tells whose memory a fault was in.
func (t *Table) Owns(addr uintptr) bool {
	for i := range t.regions {
		m := t.regions[i].Mem
		if addr-uintptr(unsafe.Pointer(&m[0])) < uintptr(len(m)) {
			return true
		}
	}
	return false
}

// Address is where the region lies in this process; 0 for the zero Region.
func (r *Region) Address() uint64 { return uint64(addressOf(r.Mem)) }
