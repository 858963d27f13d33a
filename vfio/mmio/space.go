package mmio

import "fmt"

// Space is a bank of little-endian device registers, Len bytes long. Offsets
// are in bytes from its start.
//
// Access outside the bank is a programming error and panics: bounds that come
// from a device are checked once, when Sub cuts the bank to size. Accesses
// should be naturally aligned; what a device does with others is its own affair.
//
// A Space is safe for concurrent use as far as the registers behind it are.
type Space interface {
	Len() uint64
	Load8(off uint64) uint8
	Load16(off uint64) uint16
	Load32(off uint64) uint32
	// Load64 reads two 32-bit halves, the low one first. They are not read at
	// one instant.
	Load64(off uint64) uint64
	Store8(off uint64, v uint8)
	Store16(off uint64, v uint16)
	Store32(off uint64, v uint32)
	// Store64 writes two 32-bit halves, the low one first.
	Store64(off uint64, v uint64)
}

// Cutter is a Space with its own way to make a part of itself. Sub prefers it,
// after the bounds have been checked.
type Cutter interface {
	Space
	Cut(off, n uint64) (Space, error)
}

// Sub returns the n registers of s that start at off. It fails when they do not
// lie within s. A part of a Window is again a Window, without any indirection.
func Sub(s Space, off, n uint64) (Space, error) {
	if length := s.Len(); off > length || n > length-off {
		return nil, fmt.Errorf("registers 0x%x+0x%x lie outside their bank of 0x%x bytes", off, n, length)
	}
	if c, ok := s.(Cutter); ok {
		return c.Cut(off, n)
	}
	return Part(s, off, n), nil
}

// Part is Sub without checks and without asking s for a better way: what Cut may
// return when it has none.
func Part(s Space, off, n uint64) Space { return &part{whole: s, base: off, n: n} }

// Inside panics unless width bytes at off lie within length bytes. Space
// implementations call it on each access; it is written so that no offset wraps
// around.
func Inside(off, width, length uint64) {
	if length < width || off > length-width {
		outside(off, width, length)
	}
}

//go:noinline
func outside(off, width, length uint64) {
	panic(fmt.Sprintf("mmio: %d-byte access at 0x%x outside a bank of 0x%x bytes", width, off, length))
}
