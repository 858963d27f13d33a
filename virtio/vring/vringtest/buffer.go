package vringtest

import (
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// Alloc returns n zeroed bytes of guest memory that lie in one region, and their
// address. Memory is never given back; running out of it fails the test.
func (p *Pair) Alloc(n int) (mem.GPA, []byte) {
	p.t.Helper()
	start := (p.next + align - 1) &^ (align - 1)
	if rest := p.region - start%p.region; n > rest {
		start += rest
	}
	if n > p.region || start+n > p.end {
		p.t.Fatalf("no %d bytes of guest memory left: set Config.HeapBytes", n)
	}
	p.next = start + n
	addr := p.base + mem.GPA(start)
	b, ok := p.Mem.View(addr, uint64(n))
	if !ok {
		p.t.Fatalf("%d bytes at %#x are not in one region", n, addr)
	}
	return addr, b
}

// HeapAt is the address of a byte of the memory for buffers, for a test that chooses
// places itself and does without Alloc.
func (p *Pair) HeapAt(offset int) mem.GPA { return p.base + mem.GPA(offset) }

// AllocAcross returns the address of n bytes of guest memory that lie across the
// border of two regions, the first before bytes in the first of them.
func (p *Pair) AllocAcross(before, n int) mem.GPA {
	p.t.Helper()
	border := (p.next + before + p.region - 1) / p.region * p.region
	start := border - before
	if before <= 0 || before >= n || before > p.region || n-before > p.region || start+n > p.end {
		p.t.Fatalf("no border with %d of %d bytes before it left: set Config.Regions", before, n)
	}
	p.next = start + n
	return p.base + mem.GPA(start)
}

// Part is a buffer of n bytes at addr for Driver.Add.
func Part(addr mem.GPA, n int) vring.Part {
	return vring.Part{Addr: uint64(addr), Len: uint32(n)}
}

// Write copies b to guest memory at addr, across regions if need be.
func (p *Pair) Write(addr mem.GPA, b []byte) {
	p.t.Helper()
	p.pieces(addr, len(b), func(off int, piece []byte) { copy(piece, b[off:]) })
}

// Read returns a copy of n bytes of guest memory at addr, across regions if need
// be.
func (p *Pair) Read(addr mem.GPA, n int) []byte {
	p.t.Helper()
	b := make([]byte, n)
	p.pieces(addr, n, func(off int, piece []byte) { copy(b[off:], piece) })
	return b
}

func (p *Pair) pieces(addr mem.GPA, n int, use func(off int, piece []byte)) {
	p.t.Helper()
	var last mem.Region
	for off := 0; off < n; {
		piece := p.Mem.Prefix(addr+mem.GPA(off), uint32(n-off), &last)
		if len(piece) == 0 {
			p.t.Fatalf("%#x is not guest memory", addr+mem.GPA(off))
		}
		use(off, piece)
		off += len(piece)
	}
}

// Join copies the views of a chain's side into one slice.
func Join(views [][]byte) []byte {
	var b []byte
	for _, v := range views {
		b = append(b, v...)
	}
	return b
}
