package netfwd

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// coreRing is the driver side of a ring as a generator on the same core plays it, made by
// hand, so that it costs little and is the same whoever serves the ring: a buffer of its
// own for each slot, one descriptor a buffer, written anew each time it is offered, no
// notifications. Frames carry a number, which is checked when they arrive.
type coreRing struct {
	mem         []byte
	packed, rx  bool
	size        int // of frames
	desc, avail int // offsets into mem, as those of a packed ring's areas
	used, bufs  int

	offered, taken uint16 // avail and used index, or slots of a packed ring
	wrap, usedWrap bool   // wrap counters that go with them
	flows          int    // of which frames are in turns, each to a ring of its own
	number         uint64 // of the last frame
	bad            int    // completions that were not what they should have been
}

const (
	coreSize   = 256 // slots
	coreBurst  = 32
	coreGPA    = 1 << 32
	coreStride = 2432 // from buffer to buffer
	coreRxLen  = 2060 // of a receive buffer
	coreRegion = 4 << 20
)

func (r *coreRing) buf(s int) int { return r.bufs + s*coreStride + 116 }

func newCoreRing(m []byte, packed, rx bool, size int) *coreRing {
	r := &coreRing{mem: m, packed: packed, rx: rx, size: size, flows: 1, wrap: true, usedWrap: true}
	if !rx {
		r.desc = 0x8000
	}
	r.avail = r.desc + coreSize*16
	r.used = (r.avail + 6 + 2*coreSize + 4095) &^ 4095
	r.bufs = 0x10000
	if rx {
		r.bufs += 1 << 20
	}
	if packed {
		binary.LittleEndian.PutUint16(m[r.avail+2:], 1)
	} else {
		binary.LittleEndian.PutUint16(m[r.avail:], 1)
		for i := range coreSize {
			binary.LittleEndian.PutUint16(m[r.avail+4+2*i:], uint16(i))
		}
	}
	return r
}

func (r *coreRing) p64(off int) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[off])) }
func (r *coreRing) p32(off int) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[off])) }
func (r *coreRing) p16(off int) *uint16 { return (*uint16)(unsafe.Pointer(&r.mem[off])) }

// offer offers n buffers.
func (r *coreRing) offer(n int) {
	length, flags := uint64(12+r.size), uint64(0)
	if r.rx {
		length, flags = coreRxLen, 2
	}
	first, firstRest := 0, uint64(0)
	for i := range n {
		s := int(r.offered) % coreSize
		if !r.rx {
			r.number++
			b := r.buf(s)
			*r.p64(b), *r.p32(b + 8) = 0, 0
			*r.p64(b + 12), *r.p32(b + 20) = uint64(station(1)|station(0)<<48), uint32(station(0)>>16)|uint32(r.number)%uint32(r.flows)<<24
			*r.p64(b + 12 + 14) = r.number
		}
		d := r.desc + s*16
		*r.p64(d) = coreGPA + uint64(r.buf(s))
		if !r.packed {
			*r.p64(d + 8) = length | flags<<32
			r.offered++
			continue
		}
		f := flags | 0x8000
		if r.wrap {
			f = flags | 0x80
		}
		rest := length | uint64(s)<<32 | f<<48
		if i == 0 {
			first, firstRest = d, rest
		} else {
			*r.p64(d + 8) = rest
		}
		if r.offered++; r.offered == coreSize {
			r.offered, r.wrap = 0, !r.wrap
		}
	}
	if r.packed {
		*r.p64(first + 8) = firstRest
	} else {
		*r.p16(r.avail + 2) = r.offered
	}
}

// check looks at what the device says of the buffer in slot s.
func (r *coreRing) check(s int, n uint32) {
	if r.rx {
		r.number += uint64(r.flows)
		if n != uint32(12+r.size) || *r.p64(r.buf(s) + 12 + 14) != r.number {
			r.bad++
		}
	}
}

// take takes n completions.
func (r *coreRing) take(n int) {
	if r.packed {
		for i := 0; i < n; {
			d := r.desc + int(r.taken)*16
			rest := *r.p64(d + 8)
			f := rest >> 48
			if f&0x80 != 0 != r.usedWrap || f&0x8000 != 0 != r.usedWrap {
				r.bad++
				return
			}
			r.check(int(r.taken), uint32(rest))
			step := 1
			if !r.rx {
				step = int(uint16(rest>>32)-r.taken)&(coreSize-1) + 1
			}
			i += step
			if r.taken += uint16(step); r.taken >= coreSize {
				r.taken, r.usedWrap = r.taken-coreSize, !r.usedWrap
			}
		}
		return
	}
	idx := *r.p16(r.used + 2)
	if idx-r.taken != uint16(n) {
		r.bad++
	}
	for ; r.taken != idx; r.taken++ {
		e := r.used + 4 + 8*int(r.taken%coreSize)
		r.check(int(*r.p32(e)), *r.p32(e + 4))
	}
}

// coreMemory is a guest's memory, of huge pages if the machine has some.
func coreMemory(t testing.TB) []byte {
	t.Helper()
	m, err := unix.Mmap(-1, 0, coreRegion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
	if err != nil {
		m, err = unix.Mmap(-1, 0, coreRegion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	clear(m)
	return m
}
