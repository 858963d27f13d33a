package vring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"vvufwd/virtio/order"
)

// packed is a packed ring in shared memory: descriptors, and the two words in which
// each side says what it wants to be told of.
type packed struct {
	base           unsafe.Pointer
	driver, device *uint32
}

// packedRing gives access to the three parts of a packed ring with size entries. The
// slices must have at least the sizes of Areas and stay mapped.
func packedRing(size int, desc, driver, device []byte) (packed, error) {
	r, err := packedSlots(size, desc)
	if err != nil {
		return packed{}, err
	}
	if len(driver) < EventBytes || len(device) < EventBytes {
		return packed{}, fmt.Errorf("ring of %d entries: %w", size, errSmall)
	}
	r.driver, r.device = (*uint32)(unsafe.Pointer(&driver[0])), (*uint32)(unsafe.Pointer(&device[0]))
	if uintptr(unsafe.Pointer(r.driver))%4 != 0 || uintptr(unsafe.Pointer(r.device))%4 != 0 {
		return packed{}, ErrAlign
	}
	return r, nil
}

// packedSlots gives access to the descriptors alone.
func packedSlots(size int, desc []byte) (packed, error) {
	if len(desc) < TableBytes(size) {
		return packed{}, fmt.Errorf("ring of %d entries: %w", size, errSmall)
	}
	r := packed{base: unsafe.Pointer(&desc[0])}
	if uintptr(r.base)%8 != 0 {
		return packed{}, ErrAlign
	}
	return r, nil
}

func (r packed) tail(i uint16) *uint32 { return (*uint32)(unsafe.Add(r.base, uintptr(i)*DescSize+12)) }

// state loads id and flags of descriptor i with acquire. Flags are the upper half.
func (r packed) state(i uint16) uint32 { return atomic.LoadUint32(r.tail(i)) }

// setState stores id and flags of descriptor i after every earlier store: with it the
// descriptor changes hands.
func (r packed) setState(i uint16, state uint32) { order.StoreRelease32(r.tail(i), state) }

// get copies descriptor i out of shared memory, reading each byte once.
// Next has no meaning in a packed ring.
func (r packed) get(i uint16) (d Desc, id uint16) {
	p := (*[2]uint64)(unsafe.Add(r.base, uintptr(i)*DescSize))
	return packedDesc(p[0], p[1])
}

// packedDesc decodes a descriptor of a packed ring from its two words.
func packedDesc(addr, rest uint64) (d Desc, id uint16) {
	return Desc{Addr: addr, Len: uint32(rest), Flags: uint16(rest >> 48)}, uint16(rest >> 32)
}

// rest loads length, id and flags of descriptor i with acquire, addr its address, to be
// read after that.
func (r packed) rest(i uint16) uint64 {
	return loadRest(unsafe.Add(r.base, uintptr(i)*DescSize+8))
}
func (r packed) addr(i uint16) uint64 { return *(*uint64)(unsafe.Add(r.base, uintptr(i)*DescSize)) }

// set writes descriptor i whole.
func (r packed) set(i uint16, addr uint64, n uint32, state uint32) {
	p := (*[2]uint64)(unsafe.Add(r.base, uintptr(i)*DescSize))
	p[0], p[1] = addr, uint64(n)|uint64(state)<<32
}

// setBuffer writes address and length of descriptor i, not id and flags.
func (r packed) setBuffer(i uint16, addr uint64, n uint32) {
	p := unsafe.Add(r.base, uintptr(i)*DescSize)
	*(*uint64)(p), *(*uint32)(unsafe.Add(p, 8)) = addr, n
}

// setUsed writes length, id and flags of descriptor i, not the address, which has no
// meaning in a used one.
func (r packed) setUsed(i uint16, n, state uint32) {
	*(*uint64)(unsafe.Add(r.base, uintptr(i)*DescSize+8)) = uint64(n) | uint64(state)<<32
}

// setLen and length access the length of descriptor i alone.
func (r packed) setLen(i uint16, n uint32) { *(*uint32)(unsafe.Add(r.base, uintptr(i)*DescSize+8)) = n }
func (r packed) length(i uint16) uint32    { return *(*uint32)(unsafe.Add(r.base, uintptr(i)*DescSize+8)) }

// prefetch asks for the descriptors of n slots from i on, to be written, in a ring of
// size slots.
func (r packed) prefetch(i, size uint16, n int) {
	// A descriptor is two of the elements that prefetchUsed counts in.
	if rest := int(size - i); n > rest {
		prefetchUsed(r.base, 0, 0xffff, 2*(n-rest))
		n = rest
	}
	prefetchUsed(r.base, 2*i, 0xffff, 2*n)
}

// event loads what the other side wants to be told, setEvent says what we do. The
// words are each side's own.
func event(p *uint32) uint32 { return atomic.LoadUint32(p) }
func setEvent(p *uint32, place, flags uint16) {
	order.StoreRelease32(p, uint32(place)|uint32(flags)<<16)
}

// stateOf makes the word that setState stores.
func stateOf(id, flags uint16) uint32 { return uint32(id) | uint32(flags)<<16 }

// packedTable is an indirect table of a packed ring in private or device memory; b is
// 8-aligned and not empty.
func packedTable(b []byte) packed { return packed{base: unsafe.Pointer(&b[0])} }
