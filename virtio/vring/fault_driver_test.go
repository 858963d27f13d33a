package vring_test

import (
	"errors"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// heads are the descriptors of a ring of 8 entries that a hostile device may name.
type heads struct {
	readable uint32 // an outstanding buffer of two readable parts
	writable uint32 // an outstanding buffer of 10 and 11 bytes to write to
	back     uint32 // a buffer that has come back already
	unused   uint32 // one that was not offered since
	second   uint32 // in a packed ring, the other name that the first of these takes
}

// hostileDevice is what a device does to that ring.
type hostileDevice struct {
	name  string
	want  vring.Fault
	taken int // buffers that come through before the fault is met
	play  func(r vringtest.Raw, h heads)
}

var hostileDevices = []hostileDevice{
	{"used.idx one too far", vring.FaultUsedIndex, 0,
		func(r vringtest.Raw, h heads) { r.SetUsedIdx(r.UsedIdx() + 4) }},
	{"used.idx goes back", vring.FaultUsedIndex, 0,
		func(r vringtest.Raw, h heads) { r.SetUsedIdx(r.UsedIdx() - 1) }},
	{"used.idx half the space away", vring.FaultUsedIndex, 0,
		func(r vringtest.Raw, h heads) { r.SetUsedIdx(r.UsedIdx() + 32768) }},
	{"id is the size", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) { r.Complete(8, 0) }},
	{"id is a head with high bits", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) { r.Complete(h.readable|1<<16, 0) }},
	{"id is all ones", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) { r.Complete(0xffff_ffff, 0) }},
	{"id is the middle of a chain", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) {
			r.Complete(uint32(vringtest.Desc(r.Table, int(h.readable)).Next), 0)
		}},
	{"id came back already", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) { r.Complete(h.back, 0) }},
	{"id was never offered", vring.FaultUsedID, 0,
		func(r vringtest.Raw, h heads) { r.Complete(h.unused, 0) }},
	{"the same buffer twice", vring.FaultUsedID, 1,
		func(r vringtest.Raw, h heads) { r.Complete(h.readable, 0); r.Complete(h.readable, 0) }},
	{"a byte more than the buffer", vring.FaultUsedLen, 0,
		func(r vringtest.Raw, h heads) { r.Complete(h.writable, 22) }},
	{"more than any buffer", vring.FaultUsedLen, 1,
		func(r vringtest.Raw, h heads) { r.Complete(h.readable, 0); r.Complete(h.writable, 0xffff_ffff) }},
	{"rewritten descriptor", vring.FaultUsedLen, 0,
		func(r vringtest.Raw, h heads) {
			d := vringtest.Desc(r.Table, int(h.writable))
			d.Len = 0x10000 // the driver keeps its own account of what it offered
			vringtest.PutDesc(r.Table, int(h.writable), d)
			r.Complete(h.writable, 0x10000)
		}},
}

func TestHostileDevice(t *testing.T) {
	for _, a := range hostileDevices {
		for _, eventIdx := range []bool{false, true} {
			t.Run(a.name, func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{Size: 8, EventIdx: eventIdx, Start: hostileStart()})
				q := p.Driver
				add := func(read, write []vring.Part) uint32 {
					t.Helper()
					head, err := q.Add(read, write)
					if err != nil {
						t.Fatal(err)
					}
					return uint32(head)
				}
				h := heads{back: add(parts(1), nil), readable: add(parts(2), nil), writable: add(nil, parts(2))}
				q.Publish()
				add(parts(1), nil) // never published
				h.unused = uint32(q.NextHead())
				p.Raw.Complete(h.back, 0)
				var u vring.Used
				if q.Completed() != 1 || !q.Take(&u) || uint32(u.Head) != h.back {
					t.Fatalf("took %+v, fault %v", u, q.Err())
				}
				a.play(p.Raw, h)
				q.Completed()
				taken := 0
				for ; q.Take(&u); taken++ {
					if uint32(u.Head) != h.readable {
						t.Fatalf("took %+v", u)
					}
				}
				if q.Err() != a.want || taken != a.taken {
					t.Fatalf("fault is %v after %d, want %v after %d", q.Err(), taken, a.want, a.taken)
				}
				checkDriverStopped(t, p)
			})
		}
	}
}

// Where a buffer says itself what was written, a length that is too large is no fault.
func TestAnyUsedLen(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Size: 4, Packed: packed, AnyUsedLen: true})
		for n, want := range map[uint32]uint32{0: 0, 1: 1, 21: 21, 22: 21, 0xffff_ffff: 21} {
			addOne(t, p.Driver, parts(1), parts(2))
			p.Driver.Publish()
			c := popOne(t, p.Device)
			p.Device.Push(c.Head, n)
			p.Device.Publish()
			var u vring.Used
			if p.Driver.Completed() != 1 || !p.Driver.Take(&u) || u.Len != want {
				t.Errorf("%d bytes used became %d, want %d: fault %v", n, u.Len, want, p.Driver.Err())
			}
		}
	})
}

// checkDriverStopped checks that the driver side of a ring with a fault does
// nothing that the device could see, whatever is called.
func checkDriverStopped(t *testing.T, p *vringtest.Pair) {
	t.Helper()
	q := p.Driver
	fault, idx, flags, event := q.Err(), p.Raw.AvailIdx(), p.Raw.AvailFlags(), p.Raw.UsedEvent()
	free := q.Free()
	for range 2 {
		if _, err := q.Add(parts(1), nil); !errors.Is(err, fault) {
			t.Errorf("Add after the fault: %v", err)
		}
		var u vring.Used
		if q.Completed() != 0 || q.Take(&u) {
			t.Error("a buffer is handed out after the fault")
		}
		q.DisableInterrupts()
		if q.Publish() || q.NeedKick() || q.EnableInterrupts() {
			t.Error("the ring is at work after the fault")
		}
	}
	if p.Raw.AvailIdx() != idx || p.Raw.AvailFlags() != flags || p.Raw.UsedEvent() != event {
		t.Error("avail ring changed after the fault")
	}
	if q.Err() != fault || q.Free() != free {
		t.Errorf("fault %v and %d free became %v and %d", fault, free, q.Err(), q.Free())
	}
}

// With IN_ORDER a completion names one of the buffers that are outstanding, and of a split
// ring one that its index covers; those before it are complete as well, and full.
func TestCompletionsInOrder(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		for name, c := range map[string]struct {
			id    uint16
			taken int // before the fault
			fault error
		}{
			"the last":        {2, 3, nil},
			"none":            {7, 0, vring.FaultUsedOrder},
			"not outstanding": {3, 0, vring.FaultUsedOrder},
		} {
			p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, InOrder: true})
			at, _ := p.Alloc(64)
			for range 3 {
				if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(at, 64)}); err != nil {
					t.Fatal(err)
				}
			}
			p.Driver.Publish()
			if packed {
				vringtest.SlotAt(0, 8).Complete(p.Raw, c.id, 5)
			} else {
				p.Raw.SetUsed(0, uint32(c.id), 5)
				p.Raw.SetUsedIdx(3)
			}
			p.Driver.Completed()
			var u vring.Used
			for i := range c.taken {
				want := vring.Used{Head: uint16(i), Len: 64}
				if i == 2 {
					want.Len = 5
				}
				if !p.Driver.Take(&u) || u != want {
					t.Errorf("%s: took %+v, want %+v", name, u, want)
				}
			}
			if p.Driver.Take(&u) || p.Driver.Err() != c.fault {
				t.Errorf("%s: took %+v, fault %v", name, u, p.Driver.Err())
			}
		}
	})
}

// The elements that a split ring's index covers are all that can be skipped.
func TestSkippingPastTheIndex(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8, InOrder: true})
	at, _ := p.Alloc(64)
	for range 3 {
		if _, err := p.Driver.Add([]vring.Part{vringtest.Part(at, 64)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.Driver.Publish()
	p.Raw.SetUsed(0, 2, 0)
	p.Raw.SetUsedIdx(2)
	p.Driver.Completed()
	if p.Driver.Take(new(vring.Used)) || p.Driver.Err() != vring.FaultUsedOrder {
		t.Errorf("fault %v", p.Driver.Err())
	}
}
