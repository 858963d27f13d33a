package vring_test

import (
	"errors"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// hostilePackedDevice is what a device does to a packed ring of 8 entries, from the
// slot s where the next completion belongs. The buffers are as in hostileDevices.
type hostilePackedDevice struct {
	name  string
	want  vring.Fault
	taken int
	play  func(r vringtest.Raw, s vringtest.Slot, h heads)
}

var hostilePackedDevices = []hostilePackedDevice{
	{"id is the size", vring.FaultUsedID, 0, func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, 8, 0) }},
	{"id is all ones", vring.FaultUsedID, 0, func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, 0xffff, 0) }},
	{"id came back already", vring.FaultUsedID, 0, func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, uint16(h.back), 0) }},
	{"id was never offered", vring.FaultUsedID, 0, func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, uint16(h.unused), 0) }},
	{"id is the second name of a buffer", vring.FaultUsedID, 0,
		func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, uint16(h.second), 0) }},
	{"the same buffer twice", vring.FaultUsedID, 1,
		func(r vringtest.Raw, s vringtest.Slot, h heads) {
			s.Complete(r, uint16(h.readable), 0)
			s.Next(2, 8).Complete(r, uint16(h.readable), 0)
		}},
	{"a byte more than the buffer", vring.FaultUsedLen, 0,
		func(r vringtest.Raw, s vringtest.Slot, h heads) { s.Complete(r, uint16(h.writable), 22) }},
	{"more than any buffer", vring.FaultUsedLen, 1,
		func(r vringtest.Raw, s vringtest.Slot, h heads) {
			s.Complete(r, uint16(h.readable), 0)
			s.Next(2, 8).Complete(r, uint16(h.writable), 0xffff_ffff)
		}},
	{"rewritten descriptors", vring.FaultUsedLen, 0,
		func(r vringtest.Raw, s vringtest.Slot, h heads) {
			for i := range 8 {
				vringtest.PutPacked(r.Table, i, vringtest.Packed{Len: 1 << 20, ID: uint16(h.writable)})
			}
			s.Complete(r, uint16(h.writable), 1<<20)
		}},
}

func TestHostilePackedDevice(t *testing.T) {
	for _, a := range hostilePackedDevices {
		for _, start := range []uint16{0, 6, 13} {
			t.Run(a.name, func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, EventIdx: start > 0, Start: start})
				q := p.Driver
				h := heads{back: uint32(addOne(t, q, parts(1), nil))}
				var two [2]uint16
				q.NextHeads(two[:])
				h.readable, h.second = uint32(addOne(t, q, parts(2), nil)), uint32(two[1])
				h.writable = uint32(addOne(t, q, nil, parts(2)))
				q.Publish()
				addOne(t, q, parts(1), nil) // never published
				h.unused = uint32(q.NextHead())
				s := vringtest.SlotAt(int(start), 8)
				s.Complete(p.Raw, uint16(h.back), 0)
				var u vring.Used
				if q.Completed() != 1 || !q.Take(&u) || uint32(u.Head) != h.back {
					t.Fatalf("took %+v, fault %v", u, q.Err())
				}
				a.play(p.Raw, s.Next(1, 8), h)
				if got := q.Completed(); got != a.taken+1 {
					t.Errorf("%d completions, want %d", got, a.taken+1)
				}
				taken := 0
				for ; q.Take(&u); taken++ {
					if uint32(u.Head) != h.readable {
						t.Fatalf("took %+v", u)
					}
				}
				if q.Err() != a.want || taken != a.taken {
					t.Fatalf("fault is %v after %d, want %v after %d", q.Err(), taken, a.want, a.taken)
				}
				before, free := string(p.Raw.Table)+string(p.Raw.Avail), q.Free()
				for range 2 {
					if _, err := q.Add(parts(1), nil); !errors.Is(err, a.want) {
						t.Errorf("Add after the fault: %v", err)
					}
					q.DisableInterrupts()
					if q.Completed() != 0 || q.Take(&u) || q.Publish() || q.NeedKick() || q.EnableInterrupts() {
						t.Error("the ring is at work after the fault")
					}
				}
				if string(p.Raw.Table)+string(p.Raw.Avail) != before || q.Free() != free || q.Err() != a.want {
					t.Error("the ring changed after the fault")
				}
			})
		}
	}
}

// What is not marked as used on this lap is not looked at.
func TestPackedNotUsed(t *testing.T) {
	for flags, want := range map[uint16]int{
		0: 0, vringtest.Avail: 0, vringtest.Used: 0, vringtest.Avail | vringtest.Used: 1, 0xffff: 1,
	} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8})
		head := addOne(t, p.Driver, parts(1), nil)
		p.Driver.Publish()
		vringtest.PutPacked(p.Raw.Table, 0, vringtest.Packed{ID: head, Flags: flags})
		if got := p.Driver.Completed(); got != want || p.Driver.Err() != nil {
			t.Errorf("flags %#x: %d completed, want %d; fault %v", flags, got, want, p.Driver.Err())
		}
	}
}
