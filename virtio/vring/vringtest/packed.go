package vringtest

import "vvufwd/virtio/vring"

// Flags of a descriptor of a packed ring (2.8.1).
const (
	Avail uint16 = 1 << 7
	Used  uint16 = 1 << 15
)

// Slot is a place in a packed ring: where a hostile driver or device is at work, or
// a test looks.
type Slot struct {
	At   int    // index of the descriptor
	Wrap uint16 // the wrap counter on this lap, 0 or 1
}

// SlotAt is the place n slots after the first of a ring of size entries.
func SlotAt(n, size int) Slot { return Slot{At: n % size, Wrap: uint16(1 - n/size%2)} }

// Word is the place as event areas and vring bases carry it.
func (s Slot) Word() uint16 { return uint16(s.At) | s.Wrap<<15 }

// Avail and Used are the flags of a descriptor that is available or used there.
func (s Slot) Avail() uint16 { return s.Wrap*Avail | (1-s.Wrap)*Used }
func (s Slot) Used() uint16  { return s.Wrap * (Avail | Used) }

// Packed is one descriptor of a packed ring as it lies in memory.
type Packed struct {
	Addr  uint64
	Len   uint32
	ID    uint16
	Flags uint16
}

// PutPacked writes descriptor i of a ring or of an indirect table.
func PutPacked(table []byte, i int, d Packed) {
	b := table[i*vring.DescSize:]
	le.PutUint64(b, d.Addr)
	le.PutUint32(b[8:], d.Len)
	le.PutUint16(b[12:], d.ID)
	le.PutUint16(b[14:], d.Flags)
}

// PackedAt reads descriptor i.
func PackedAt(table []byte, i int) Packed {
	b := table[i*vring.DescSize:]
	return Packed{Addr: le.Uint64(b), Len: le.Uint32(b[8:]), ID: le.Uint16(b[12:]), Flags: le.Uint16(b[14:])}
}

// Offer writes descriptors to the slots from the one on, available there in addition
// to the flags that they have, without any check. It returns the slot behind them.
func (s Slot) Offer(r Raw, chain ...Packed) Slot {
	for _, d := range chain {
		d.Flags |= s.Avail()
		PutPacked(r.Table, s.At, d)
		s = s.Next(1, r.size)
	}
	return s
}

// Complete writes a used descriptor into the slot, without any check.
func (s Slot) Complete(r Raw, id uint16, n uint32) {
	PutPacked(r.Table, s.At, Packed{Len: n, ID: id, Flags: s.Used()})
}

// Next is the place n slots on in a ring of size entries.
func (s Slot) Next(n, size int) Slot {
	s.At += n
	s.Wrap ^= uint16(s.At/size) & 1
	s.At %= size
	return s
}

// Event areas of a packed ring (2.8.10): a place and flags. The driver writes the
// first, the device the second.
func (r Raw) DriverEvent() (place, flags uint16) { return le.Uint16(r.Avail), le.Uint16(r.Avail[2:]) }
func (r Raw) SetDriverEvent(place, flags uint16) {
	le.PutUint16(r.Avail, place)
	le.PutUint16(r.Avail[2:], flags)
}
func (r Raw) DeviceEvent() (place, flags uint16) { return le.Uint16(r.Used), le.Uint16(r.Used[2:]) }
func (r Raw) SetDeviceEvent(place, flags uint16) {
	le.PutUint16(r.Used, place)
	le.PutUint16(r.Used[2:], flags)
}
