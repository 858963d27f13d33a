package vring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// ErrAlign reports ring memory that is not aligned as 2.7 demands.
var ErrAlign = errors.New("ring memory is misaligned")

var errSmall = errors.New("memory is too small")

// load16 loads a 16-bit field with acquire through its aligned 32-bit word.
// The word is in the same page as the field, so it can be read if the field can.
func load16(p *uint16) uint16 {
	addr := unsafe.Pointer(p)
	word := atomic.LoadUint32((*uint32)(unsafe.Pointer(uintptr(addr) &^ 2)))
	return uint16(word >> ((uintptr(addr) & 2) * 8))
}

// table is the descriptor table in shared memory.
type table struct{ base unsafe.Pointer }

// get copies descriptor i out of shared memory, reading each byte once.
// The caller has checked i against the size of the table.
func (t table) get(i uint16) Desc {
	p := (*[2]uint64)(unsafe.Add(t.base, uintptr(i)*DescSize))
	addr, rest := p[0], p[1]
	return Desc{Addr: addr, Len: uint32(rest), Flags: uint16(rest >> 32), Next: uint16(rest >> 48)}
}

// words is get, not decoded: address, and length, flags and next.
func (t table) words(i uint16) (addr, rest uint64) {
	p := (*[2]uint64)(unsafe.Add(t.base, uintptr(i)*DescSize))
	return p[0], p[1]
}

// wordsAt is words for a descriptor in an indirect table, at an address in this process
// that has been checked to lie in guest memory.
func wordsAt(at uint64) (addr, rest uint64) {
	p := (*[2]uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&at)))
	return p[0], p[1]
}

// set writes descriptor i; the caller has checked i.
func (t table) set(i uint16, d Desc) {
	p := (*[2]uint64)(unsafe.Add(t.base, uintptr(i)*DescSize))
	p[0] = d.Addr
	p[1] = uint64(d.Len) | uint64(d.Flags)<<32 | uint64(d.Next)<<48
}

// avail is the avail ring in shared memory.
type avail struct {
	base unsafe.Pointer
	mask uint16
}

func (a avail) flags() *uint16 { return (*uint16)(a.base) }
func (a avail) idx() *uint16   { return (*uint16)(unsafe.Add(a.base, 2)) }
func (a avail) entry(pos uint16) *uint16 {
	return (*uint16)(unsafe.Add(a.base, 4+2*uintptr(pos&a.mask)))
}
func (a avail) usedEvent() *uint16 {
	return (*uint16)(unsafe.Add(a.base, 4+2*(uintptr(a.mask)+1)))
}

// used is the used ring in shared memory.
type used struct {
	base unsafe.Pointer
	mask uint16
}

func (u used) flags() *uint16 { return (*uint16)(u.base) }
func (u used) idx() *uint16   { return (*uint16)(unsafe.Add(u.base, 2)) }
func (u used) availEvent() *uint16 {
	return (*uint16)(unsafe.Add(u.base, 4+usedElem*(uintptr(u.mask)+1)))
}

// elements is the first used element.
func (u used) elements() unsafe.Pointer { return unsafe.Add(u.base, 4) }

// put writes one used element; it becomes visible when idx is published.
// The used ring is only 4-aligned, hence two stores.
func (u used) put(pos uint16, id, n uint32) {
	p := (*[2]uint32)(unsafe.Add(u.base, 4+usedElem*uintptr(pos&u.mask)))
	p[0], p[1] = id, n
}

// get copies one used element.
func (u used) get(pos uint16) (id, n uint32) {
	p := (*[2]uint32)(unsafe.Add(u.base, 4+usedElem*uintptr(pos&u.mask)))
	return p[0], p[1]
}

// rings gives access to the three parts of a ring with size entries. The slices
// must have at least TableBytes, AvailBytes and UsedBytes and stay mapped.
func rings(size int, desc, av, us []byte) (table, avail, used, error) {
	if len(desc) < TableBytes(size) || len(av) < AvailBytes(size) || len(us) < UsedBytes(size) {
		return table{}, avail{}, used{}, fmt.Errorf("ring of %d entries: %w", size, errSmall)
	}
	d, a, u := unsafe.Pointer(&desc[0]), unsafe.Pointer(&av[0]), unsafe.Pointer(&us[0])
	// The table needs 16 by the specification; 8 is what atomicity of our
	// loads needs, and all a foreign mapping offset could break is checked here.
	if uintptr(d)%8 != 0 || uintptr(a)%2 != 0 || uintptr(u)%4 != 0 {
		return table{}, avail{}, used{}, ErrAlign
	}
	mask := uint16(size - 1)
	return table{d}, avail{a, mask}, used{u, mask}, nil
}

// descAt decodes descriptor i of an indirect table that has been copied to
// private memory; the caller has checked i.
func descAt(private []byte, i int) Desc {
	return tableOf(private[i*DescSize : (i+1)*DescSize]).get(0)
}

// tableOf makes a table of private or device memory; b is 8-aligned and not empty.
func tableOf(b []byte) table { return table{unsafe.Pointer(&b[0])} }
