package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// packedConfig is fuzzConfig with any size up to 33.
func packedConfig(b, size byte) vringtest.Config {
	c := fuzzConfig(b)
	c.Packed, c.Size, c.IndirectParts = true, 1+int(size)%33, 0
	return c
}

// A guest writes anything anywhere into its packed ring at any time. program is read
// four bytes a step: what to do, a place, a value.
func FuzzPackedDeviceRing(f *testing.F) {
	f.Fuzz(func(t *testing.T, cfg, size byte, start uint16, memory, program []byte) {
		c := packedConfig(cfg, size)
		p := vringtest.NewPair(t, c)
		// The driver side takes no part.
		p.DeviceConfig.NextAvail = start&vring.FirstSlot | start&^vring.FirstSlot%uint16(c.Size)
		p.DeviceConfig.ReadOnly = cfg&32 != 0
		var err error
		if p.Device, err = vring.NewDevice(p.DeviceConfig); err != nil {
			t.Fatal(err)
		}
		smear(p.Raw.Table, memory)
		for _, r := range p.Mem.Regions()[1:] {
			smear(r.Mem, memory) // indirect tables
		}
		d := packedDrainer{drainer{t: t, p: p}}
		at := vringtest.Slot{At: int(p.Device.NextAvail() &^ vring.FirstSlot), Wrap: start >> 15}
		for ; len(program) >= 4; program = program[4:] {
			place, v := int(program[1]), uint16(program[2])|uint16(program[3])<<8
			switch program[0] % 8 {
			case 0: // a burst of plausible chains where they belong
				for k := range place % 6 {
					flags := v >> (3 * k) & 7
					at = at.Offer(p.Raw, vringtest.Packed{Addr: 0x10000 + uint64(v&0x3fff), Len: uint32(place) * 16, ID: v, Flags: flags})
				}
				d.drain(int(program[0] >> 3))
			case 1:
				if place&1 != 0 {
					d.ops(place >> 1)
				}
				d.drain(int(v))
			case 2: // half a field of a descriptor
				b := p.Raw.Table[place*2%len(p.Raw.Table):]
				b[0], b[1] = byte(v), byte(v>>8)
			case 3: // a descriptor somewhere, with any flags
				vringtest.PutPacked(p.Raw.Table, place%c.Size, vringtest.Packed{
					Addr: 0x10000 + uint64(v&0x3fff), Len: uint32(program[0]), ID: v, Flags: v,
				})
			case 4:
				p.Raw.SetDriverEvent(v, uint16(place))
			case 5: // the guest's memory, but not the guest's to write
				p.Raw.SetDeviceEvent(v, uint16(place))
			case 6:
				d.arm()
			case 7: // an indirect table entry
				r := p.Mem.Regions()[1+place%3].Mem
				b := r[place*2%len(r):]
				b[0], b[1] = byte(v), byte(v>>8)
			}
		}
		d.drain(0)
	})
}

// packedDrainer serves a hostile packed ring.
type packedDrainer struct{ drainer }

// drain takes everything that is available, gives some of it back in another order
// than it came, and keeps the books of slots.
func (d *packedDrainer) drain(order int) {
	q := d.p.Device
	if n := q.Available(); n > q.Size() || d.fault != nil && n != 0 {
		d.t.Fatalf("%d chains in a ring of %d, fault %v", n, q.Size(), d.fault)
	}
	start := q.Position()
	var c vring.Chain
	var heads []uint16
	seen := map[uint16]bool{}
	for q.Pop(&c) {
		d.chain(&c)
		if len(heads)%5 == 4 {
			before := q.NextAvail()
			q.Unpop(1)
			if !q.Pop(&c) && q.Err() == nil || q.Err() == nil && q.NextAvail() != before {
				d.t.Fatal("a chain that was taken back is gone, or another one")
			}
		}
		if q.Err() == nil {
			if seen[c.Head] {
				d.t.Fatalf("two chains are called %d", c.Head)
			}
			seen[c.Head] = true
			heads = append(heads, c.Head)
		}
		if q.Exhausted() {
			q.ResetViews()
		}
	}
	if q.Err() == nil && q.Pending() != 0 {
		d.t.Fatalf("%d chains are left without a fault", q.Pending())
	}
	for len(heads) > 0 {
		i := order % len(heads)
		q.Push(heads[i], uint32(order))
		heads = append(heads[:i], heads[i+1:]...)
		order /= 3
	}
	before := string(d.p.Raw.Table)
	switch published := q.Publish(); {
	case q.Err() != nil && (published || string(d.p.Raw.Table) != before):
		d.t.Fatalf("published after %v", q.Err())
	case q.Err() == nil && published != (q.Position() != start):
		d.t.Fatalf("published %v, from %#x to %#x", published, start, q.Position())
	}
	// Everything was given back: both places are the same and inside the ring.
	if at := q.Position(); q.Err() == nil && (at&0xffff != at>>16 || int(at&0x7fff) >= q.Size()) {
		d.t.Fatalf("position %#x in a ring of %d", at, q.Size())
	}
	q.NeedSignal()
	q.ResetViews()
	if d.fault != nil && q.Err() != d.fault {
		d.t.Fatalf("fault %v became %v", d.fault, q.Err())
	}
	d.fault = q.Err()
}

// A device answers anything at any time in a packed ring.
func FuzzPackedDriverRing(f *testing.F) {
	f.Fuzz(func(t *testing.T, cfg, size byte, program []byte) {
		p := vringtest.NewPair(t, packedConfig(cfg, size))
		n := p.Driver.Size()
		d := keeper{t: t, p: p, chains: map[uint16]kept{}}
		at := vringtest.SlotAt(0, n)
		for ; len(program) >= 4; program = program[4:] {
			place, v := int(program[1]), uint16(program[2])|uint16(program[3])<<8
			switch program[0] % 7 {
			case 0:
				if program[0]/7%4 == 3 {
					d.addReads(place % 8)
				} else {
					d.add(place%4, int(v%4))
				}
				p.Driver.Publish()
			case 1: // a plausible answer where it belongs
				at.Complete(p.Raw, uint16(place%(n+1)), uint32(v%64))
				d.take(program[0] / 7)
			case 2:
				vringtest.PutPacked(p.Raw.Table, place%n, vringtest.Packed{Len: uint32(v), ID: v % 8, Flags: v})
				d.take(program[0] / 7)
			case 3:
				p.Raw.SetDeviceEvent(v, uint16(place))
			case 4:
				p.Driver.NeedKick()
				p.Driver.DisableInterrupts()
				p.Driver.EnableInterrupts()
				d.fault(p.Driver.Err())
			case 5: // the device scribbles over what it must only read
				smear(p.Raw.Table[place*4%len(p.Raw.Table):], program[2:4])
				p.Raw.SetDriverEvent(v, v)
			case 6: // an honest answer to the oldest buffer
				if head, k, ok := d.oldest(); ok {
					at.Complete(p.Raw, head, k.writable)
					at = at.Next(k.descriptors, n)
					d.take(program[0] / 7)
				}
			}
			d.check()
		}
	})
}
