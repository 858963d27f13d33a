package dma

// Memory is a piece of device-visible memory. The Arena that handed it out owns
// it; after Arena.Close it must not be touched.
type Memory struct {
	// Bytes is the memory as this process sees it.
	Bytes []byte
	// IOVA is where the device sees Bytes[0].
	IOVA IOVA
}

// Slice returns the n bytes from off on. Like slicing, it panics when they are
// not all within m.
func (m Memory) Slice(off, n int) Memory {
	return Memory{Bytes: m.Bytes[off : off+n : off+n], IOVA: m.IOVA + IOVA(off)}
}
