package hostile

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Where things lie in the main region.
const (
	ringEntries = 64
	ringRoom    = 0x8000 // per place of a ring
	XX
	availAt     = 0x1000             // in a place
	usedAt      = 0x2000             //
	tableAt     = 0x3000             // indirect tables
	buffersGPA  = mainGPA + 0x4_0000 // of the receive ring, then of the transmit ring
	bufferBytes = 4096               // each
	scratchGPA  = mainGPA + 0xc_0000 // for attacks
	endGPA      = uint64(mainGPA) + mainBytes
)

// desc is a descriptor.
type desc = vring.Desc

// ring is a split ring of which every byte can be set. What it knows of indexes is
// its own: shared memory is written, hardly read.
type ring struct {
	ram   *ram
	index int    // of the vring
	place int    // where in memory it lies
	avail uint16 // what the next offer gets
	used  uint16 // how many used elements were seen
}

const (
	receiveRing  = 0
	transmitRing = 1
)

func (r *ring) base() uint64  { return mainGPA + uint64(r.place)*ringRoom }
func (r *ring) table() uint64 { return r.base() + tableAt }

// address is where the ring lies, for SET_VRING_ADDR.
func (r *ring) address() vhostuser.VringAddr {
	uva := r.base() - mainGPA + mainUVA
	return vhostuser.VringAddr{Index: uint32(r.index), Desc: uva, Avail: uva + availAt, Used: uva + usedAt}
}

// clear makes it a ring that was never used.
func (r *ring) clear() {
	clear(r.ram.at(r.base(), ringRoom))
	r.avail, r.used = 0, 0
}

// set writes a descriptor.
func (r *ring) set(i int, d desc) { putDesc(r.ram.at(r.base(), ringEntries*vring.DescSize), i, d) }

// setIndirect writes a descriptor of the ring's indirect table.
func (r *ring) setIndirect(i int, d desc) { putDesc(r.ram.at(r.table(), 0x5000), i, d) }

func putDesc(table []byte, i int, d desc) {
	b := table[i*vring.DescSize:]
	binary.LittleEndian.PutUint64(b, d.Addr)
	binary.LittleEndian.PutUint32(b[8:], d.Len)
	binary.LittleEndian.PutUint16(b[12:], d.Flags)
	binary.LittleEndian.PutUint16(b[14:], d.Next)
}

// chain writes descriptors from number at on, each with a link to the next, and
// flags besides.
func (r *ring) chain(at int, flags uint16, parts ...desc) {
	for i, d := range parts {
		d.Flags |= flags
		if i < len(parts)-1 {
			d.Flags |= vring.DescNext
			d.Next = uint16(at + i + 1)
		}
		r.set(at+i, d)
	}
}

// offer puts a head into the avail ring and shows it.
func (r *ring) offer(heads ...uint16) {
	for _, h := range heads {
		binary.LittleEndian.PutUint16(r.ram.at(r.base()+availAt+4+2*uint64(r.avail%ringEntries), 2), h)
		r.avail++
	}
	r.show(r.avail)
}

// show sets avail.idx, whatever has been offered.
func (r *ring) show(idx uint16) {
	atomic.StoreUint32(word(r.ram.at(r.base()+availAt, 4)), uint32(idx)<<16)
}

// usedIdx is the device's index.
func (r *ring) usedIdx() uint16 {
	return uint16(atomic.LoadUint32(word(r.ram.at(r.base()+usedAt, 4))) >> 16)
}

// done returns the next used element, if there is one.
func (r *ring) done() (id uint16, n uint32, ok bool) {
	if r.used == r.usedIdx() {
		return 0, 0, false
	}
	b := r.ram.at(r.base()+usedAt+4+8*uint64(r.used%ringEntries), 8)
	r.used++
	return uint16(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:]), true
}

// buffer is buffer k of the ring in guest memory.
func (r *ring) buffer(k int) uint64 {
	return buffersGPA + uint64(r.index*ringEntries+k)*bufferBytes
}

// word is four bytes of shared memory for atomic access.
func word(b []byte) *uint32 { return (*uint32)(unsafe.Pointer(&b[0])) }
