package vring_test

import (
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// longRing is a ring whose driver has a region of 2 GiB that is address space and no memory, and
// offers chains that take it several times.
type longRing struct {
	*vringtest.Pair
	packed, table bool // of the format, and whether chains are indirect
	slot          vringtest.Slot
	desc          int     // of a split ring's table, the first that is free
	tables        mem.GPA // the place of the next indirect table
}

const (
	vastAt = 1 << 40
	vast   = 1 << 31
)

func newLongRing(t *testing.T, packed, table bool) *longRing {
	t.Helper()
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, Indirect: true})
	regions := append(p.Mem.Regions()[:len(p.Mem.Regions()):len(p.Mem.Regions())], mem.Region{GPA: vastAt, Mem: reserve(t, vast)})
	memory, err := mem.New(regions)
	if err != nil {
		t.Fatal(err)
	}
	p.DeviceConfig.Mem = memory
	if p.Device, err = vring.NewDevice(p.DeviceConfig); err != nil {
		t.Fatal(err)
	}
	at, _ := p.Alloc(1024)
	return &longRing{Pair: p, packed: packed, table: table, slot: vringtest.SlotAt(0, 8), tables: at}
}

// offer offers one chain of parts of these sizes.
func (r *longRing) offer(flags uint16, sizes ...uint32) {
	var split []vring.Desc
	var packed []vringtest.Packed
	for i, n := range sizes {
		d := vring.Desc{Addr: vastAt, Len: n, Flags: flags, Next: uint16(i + 1)}
		if !r.table {
			d.Next += uint16(r.desc)
		}
		if i < len(sizes)-1 {
			d.Flags |= next
		}
		split = append(split, d)
		packed = append(packed, vringtest.Packed{Addr: d.Addr, Len: n, Flags: d.Flags})
	}
	if r.table {
		b := make([]byte, len(sizes)*vring.DescSize)
		for i := range sizes {
			if r.packed {
				vringtest.PutPacked(b, i, packed[i])
			} else {
				vringtest.PutDesc(b, i, split[i])
			}
		}
		r.Write(r.tables, b)
		split = []vring.Desc{{Addr: uint64(r.tables), Len: uint32(len(b)), Flags: indirect}}
		packed = []vringtest.Packed{{Addr: uint64(r.tables), Len: uint32(len(b)), Flags: indirect}}
		r.tables += mem.GPA(len(b))
	}
	if r.packed {
		r.slot = r.slot.Offer(r.Raw, packed...)
		return
	}
	for i, d := range split {
		vringtest.PutDesc(r.Raw.Table, r.desc+i, d)
	}
	r.Raw.Offer(uint16(r.desc))
	r.desc += len(split)
}

// longRings runs a test with a chain of either direction in rings of either format, in a table
// or not.
func longRings(t *testing.T, test func(t *testing.T, r *longRing, flags uint16)) {
	bothFormats(t, func(t *testing.T, packed bool) {
		for _, table := range []bool{false, true} {
			for _, flags := range []uint16{0, write} {
				name := map[bool]string{false: "direct", true: "indirect"}[table] + map[uint16]string{0: " readable", write: " writable"}[flags]
				t.Run(name, func(t *testing.T) { test(t, newLongRing(t, packed, table), flags) })
			}
		}
	})
}

// A chain as long as 32 bits cannot say stops the ring; one byte less is long, and good.
func TestFaultLength(t *testing.T) {
	longRings(t, func(t *testing.T, r *longRing, flags uint16) {
		r.offer(flags, vast, vast-1)
		r.offer(flags, vast, vast)
		var c vring.Chain
		if r.Device.Available(); !r.Device.Pop(&c) || c.ReadLen+c.WriteLen != 1<<32-1 {
			t.Fatalf("4 GiB less a byte: %d bytes, fault %v", c.ReadLen+c.WriteLen, r.Device.Err())
		}
		if r.Device.Pop(&c) || r.Device.Err() != vring.FaultLength {
			t.Errorf("4 GiB: fault is %v", r.Device.Err())
		}
		if !r.packed {
			checkStopped(t, r.Pair, 0)
		}
	})
}

// A guest must not break a rule unseen because its ring is looked at in passes: they leave
// such a chain to Pop, also after a good one. Whether a frame meets them or Pop is a matter of
// time.
func TestPassesLeaveLengthToPop(t *testing.T) {
	longRings(t, func(t *testing.T, r *longRing, flags uint16) {
		good := 0
		if flags == write {
			good = 1
			r.offer(flags, 500)
		}
		r.offer(flags, vast, vast)
		reads, writes := opsOf(r.Device)
		if reads != 0 || writes != good {
			t.Fatalf("%d ops of what is too long to read, %d to write", reads, writes)
		}
		if !r.Device.Waits() {
			t.Error("nothing is left for Pop")
		}
		chains := make([]vring.Chain, 4)
		r.Device.Available()
		if n := r.Device.PopBurst(chains); n != good || r.Device.Err() != vring.FaultLength {
			t.Errorf("popped %d, fault %v", n, r.Device.Err())
		}
	})
}
