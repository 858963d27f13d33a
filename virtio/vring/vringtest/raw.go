package vringtest

import (
	"encoding/binary"

	"vvufwd/virtio/vring"
)

// Raw is the memory of a ring as bytes (2.7): what a hostile driver or device
// writes, and what a test checks field by field. Its accesses are plain; the
// peer's goroutine must not run meanwhile.
type Raw struct {
	Table []byte // descriptor table
	Avail []byte // avail ring with used_event
	Used  []byte // used ring with avail_event
	size  int
}

var le = binary.LittleEndian

// PutDesc writes descriptor i of a table, the ring's own or an indirect one.
func PutDesc(table []byte, i int, d vring.Desc) {
	b := table[i*vring.DescSize:]
	le.PutUint64(b, d.Addr)
	le.PutUint32(b[8:], d.Len)
	le.PutUint16(b[12:], d.Flags)
	le.PutUint16(b[14:], d.Next)
}

// Desc reads descriptor i of a table.
func Desc(table []byte, i int) vring.Desc {
	b := table[i*vring.DescSize:]
	return vring.Desc{
		Addr: le.Uint64(b), Len: le.Uint32(b[8:]), Flags: le.Uint16(b[12:]), Next: le.Uint16(b[14:]),
	}
}

// SetChain writes the descriptors to the table from entry 0 on, as they are.
func (r Raw) SetChain(chain ...vring.Desc) {
	for i, d := range chain {
		PutDesc(r.Table, i, d)
	}
}

// Offer puts a head into the avail ring and increments avail.idx, without any
// check.
func (r Raw) Offer(head uint16) {
	idx := r.AvailIdx()
	r.SetAvail(idx, head)
	r.SetAvailIdx(idx + 1)
}

// Complete puts an element into the used ring and increments used.idx, without
// any check.
func (r Raw) Complete(id, n uint32) {
	idx := r.UsedIdx()
	r.SetUsed(idx, id, n)
	r.SetUsedIdx(idx + 1)
}

// AvailFlags, AvailIdx and UsedEvent are what the driver has written.
func (r Raw) AvailFlags() uint16 { return le.Uint16(r.Avail) }
func (r Raw) AvailIdx() uint16   { return le.Uint16(r.Avail[2:]) }
func (r Raw) UsedEvent() uint16  { return le.Uint16(r.Avail[4+2*r.size:]) }

// SetAvailFlags, SetAvailIdx and SetUsedEvent write in the driver's place.
func (r Raw) SetAvailFlags(v uint16) { le.PutUint16(r.Avail, v) }
func (r Raw) SetAvailIdx(v uint16)   { le.PutUint16(r.Avail[2:], v) }
func (r Raw) SetUsedEvent(v uint16)  { le.PutUint16(r.Avail[4+2*r.size:], v) }

// SetAvail writes the avail entry for index pos.
func (r Raw) SetAvail(pos, head uint16) {
	le.PutUint16(r.Avail[4+2*(int(pos)%r.size):], head)
}

// AvailEntry reads the avail entry for index pos.
func (r Raw) AvailEntry(pos uint16) uint16 {
	return le.Uint16(r.Avail[4+2*(int(pos)%r.size):])
}

// UsedFlags, UsedIdx and AvailEvent are what the device has written.
func (r Raw) UsedFlags() uint16  { return le.Uint16(r.Used) }
func (r Raw) UsedIdx() uint16    { return le.Uint16(r.Used[2:]) }
func (r Raw) AvailEvent() uint16 { return le.Uint16(r.Used[4+8*r.size:]) }

// SetUsedFlags, SetUsedIdx and SetAvailEvent write in the device's place.
func (r Raw) SetUsedFlags(v uint16)  { le.PutUint16(r.Used, v) }
func (r Raw) SetUsedIdx(v uint16)    { le.PutUint16(r.Used[2:], v) }
func (r Raw) SetAvailEvent(v uint16) { le.PutUint16(r.Used[4+8*r.size:], v) }

// SetUsed writes the used element for index pos.
func (r Raw) SetUsed(pos uint16, id, n uint32) {
	b := r.Used[4+8*(int(pos)%r.size):]
	le.PutUint32(b, id)
	le.PutUint32(b[4:], n)
}

// UsedEntry reads the used element for index pos.
func (r Raw) UsedEntry(pos uint16) (id, n uint32) {
	b := r.Used[4+8*(int(pos)%r.size):]
	return le.Uint32(b), le.Uint32(b[4:])
}
