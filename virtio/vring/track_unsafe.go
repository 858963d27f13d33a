package vring

import (
	"sync/atomic"
	"unsafe"

	"vvufwd/virtio/order"
)

// Fields of tracking memory, naturally aligned in b, which is 8-aligned. Stores become
// visible in the order in which they are made: to another process after ours has died, and
// to the front-end.

func loadByteAt(b []byte, at int) byte { return *(*byte)(unsafe.Pointer(&b[at])) }
func load16At(b []byte, at int) uint16 { return *(*uint16)(unsafe.Pointer(&b[at : at+2][0])) }
func load32At(b []byte, at int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[at : at+4][0])))
}
func load64At(b []byte, at int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[at : at+8][0])))
}

func storeByteAt(b []byte, at int, v byte) { b[at] = v }
func store16At(b []byte, at int, v uint16) {
	order.StoreRelease16((*uint16)(unsafe.Pointer(&b[at : at+2][0])), v)
}
func store32At(b []byte, at int, v uint32) {
	order.StoreRelease32((*uint32)(unsafe.Pointer(&b[at : at+4][0])), v)
}
func store64At(b []byte, at int, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[at : at+8][0])), v)
}

// owns reports whether addr, an address of this process, lies in the tracking memory.
func (t *Tracker) owns(addr uintptr) bool {
	return addr-uintptr(unsafe.Pointer(&t.b[0])) < uintptr(len(t.b))
}
