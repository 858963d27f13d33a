package mmio

// Window is a bank of registers mapped into memory.
//
// It refers to the mapping but does not own it: whoever mapped the memory must
// keep it mapped as long as the window is used.
type Window struct {
	mem []byte
}

var _ Cutter = (*Window)(nil)

// NewWindow makes registers of mapped memory.
func NewWindow(mem []byte) *Window { return &Window{mem: mem} }

// Len is the size of the window in bytes.
func (w *Window) Len() uint64 { return uint64(len(w.mem)) }

// Load8 reads one byte.
func (w *Window) Load8(off uint64) uint8 {
	Inside(off, 1, w.Len())
	v := load8(&w.mem[off])
	afterLoad()
	return v
}

// Load16 reads two bytes in one access.
func (w *Window) Load16(off uint64) uint16 {
	Inside(off, 2, w.Len())
	v := load16(pointer16(w.mem, off))
	afterLoad()
	return v
}

// Load32 reads four bytes in one access.
func (w *Window) Load32(off uint64) uint32 {
	Inside(off, 4, w.Len())
	v := load32(pointer32(w.mem, off))
	afterLoad()
	return v
}

// Load64 reads two 32-bit halves, the low one first.
func (w *Window) Load64(off uint64) uint64 {
	Inside(off, 8, w.Len())
	low := w.Load32(off)
	return uint64(low) | uint64(w.Load32(off+4))<<32
}

// Store8 writes one byte.
func (w *Window) Store8(off uint64, v uint8) {
	Inside(off, 1, w.Len())
	beforeStore()
	store8(&w.mem[off], v)
}

// Store16 writes two bytes in one access.
func (w *Window) Store16(off uint64, v uint16) {
	Inside(off, 2, w.Len())
	beforeStore()
	store16(pointer16(w.mem, off), v)
}

// Store32 writes four bytes in one access.
func (w *Window) Store32(off uint64, v uint32) {
	Inside(off, 4, w.Len())
	beforeStore()
	store32(pointer32(w.mem, off), v)
}

// Store64 writes two 32-bit halves, the low one first.
func (w *Window) Store64(off uint64, v uint64) {
	Inside(off, 8, w.Len())
	w.Store32(off, uint32(v))
	w.Store32(off+4, uint32(v>>32))
}

// Cut returns a smaller window on the same mapping. Sub has checked the bounds.
func (w *Window) Cut(off, n uint64) (Space, error) {
	return &Window{mem: w.mem[off : off+n : off+n]}, nil
}
