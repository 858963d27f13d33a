package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// opsOf asks for what waits in a ring both ways.
func opsOf(q *vring.Device) (reads, writes int) {
	var ops [vring.MaxOps]vring.Op
	var spread vring.Spread
	reads = q.ReadOps(&ops, &spread, 12, 14, 1000)
	for i := range ops {
		ops[i].N = 60
	}
	writes, _ = q.WriteOps(ops[:], &vring.Writing{Head: 12, Most: 1000, Mergeable: true})
	return reads, writes
}

// An avail entry that names no descriptor ends a run, wherever in it, and Pop says what is
// wrong.
func TestOpsBeforeAHeadThatIsNone(t *testing.T) {
	for good := range 3 {
		for _, write := range []bool{false, true} {
			p := vringtest.NewPair(t, vringtest.Config{Size: 8})
			at, _ := p.Alloc(100)
			d := vring.Desc{Addr: uint64(at), Len: 100}
			if write {
				d.Flags = vring.DescWrite
			}
			for i := range good {
				vringtest.PutDesc(p.Raw.Table, i, d)
				p.Raw.SetAvail(uint16(i), uint16(i))
			}
			p.Raw.SetAvail(uint16(good), 8)
			p.Raw.SetAvailIdx(uint16(good + 1))
			reads, writes := opsOf(p.Device)
			if reads+writes != good || write && reads != 0 || !write && writes != 0 || !p.Device.Waits() {
				t.Errorf("%d good, to write %v: %d and %d ops", good, write, reads, writes)
			}
			var chains [8]vring.Chain
			p.Device.Available()
			if n := p.Device.PopBurst(chains[:]); n != good || p.Device.Err() != vring.FaultHead {
				t.Errorf("%d good: popped %d, fault %v", good, n, p.Device.Err())
			}
			if reads, writes := opsOf(p.Device); reads+writes != 0 || !p.Device.Waits() {
				t.Errorf("%d and %d ops of a ring that has failed", reads, writes)
			}
		}
	}
}

// Once a chain without an end was seen in a packed ring, it is for Pop to say so.
func TestOpsBeforeAnEndlessChain(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
	at, _ := p.Alloc(100)
	s := vringtest.SlotAt(0, 4)
	for range 4 {
		s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 100, Flags: vring.DescNext})
	}
	p.Device.Available()
	if reads, writes := opsOf(p.Device); reads+writes != 0 || !p.Device.Waits() {
		t.Errorf("%d and %d ops", reads, writes)
	}
	if p.Device.Pop(new(vring.Chain)) || p.Device.Err() != vring.FaultLoop {
		t.Errorf("fault %v", p.Device.Err())
	}
}

// A driver that makes all slots look offered, on this lap and on the next, gets no more
// than one lap served at once.
func TestOpsOfOneLapAtMost(t *testing.T) {
	for start := range 4 {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4, Start: uint16(start)})
		at, _ := p.Alloc(100)
		s := vringtest.SlotAt(start, 4)
		for range 4 {
			s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 100})
		}
		for i := range 4 {
			d := vringtest.PackedAt(p.Raw.Table, i)
			d.ID = uint16(i)
			vringtest.PutPacked(p.Raw.Table, i, d)
		}
		if p.Device.Growing(3) {
			t.Error("a full ring, and too small a one, is growing")
		}
		var ops [vring.MaxOps]vring.Op
		n := p.Device.ReadOps(&ops, new(vring.Spread), 12, 14, 1000)
		if n != 4 || ops[0].SrcID != uint16(start) {
			t.Fatalf("from slot %d: %d ops, the first is %d", start, n, ops[0].SrcID)
		}
		before := p.Device.NextAvail()
		p.Device.CompleteReads(ops[:n])
		if got := p.Device.NextAvail(); got != before^1<<15 {
			t.Errorf("from %#x to %#x is not a lap", before, got)
		}
	}
}

// Of what a hostile driver offers in a packed ring nothing is taken in passes; of a split one see
// TestHostileDriver.
func TestPassesLeavePackedAttacksToPop(t *testing.T) {
	for _, a := range packedAttacks {
		t.Run(a.name, func(t *testing.T) {
			p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, Indirect: !a.direct, ReadOnly: a.readOnly, HeapBytes: 8192})
			at, _ := p.Alloc(2048)
			a.play(p.Raw, p, vringtest.SlotAt(0, 8), uint64(at))
			if reads, writes := opsOf(p.Device); reads+writes != 0 || !p.Device.Waits() {
				t.Errorf("%d and %d ops of what no one may offer", reads, writes)
			}
		})
	}
}

// A packed ring is growing while a buffer waits in it and the n-th from there does not. A split
// one's driver says how many there are.
func TestGrowing(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const n = 3
		for start := range 9 {
			p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, Start: uint16(start)})
			for offered := range 9 {
				if got, want := p.Device.Growing(n), packed && offered > 0 && offered < n; got != want {
					t.Errorf("from slot %d, %d offered: growing %v", start, offered, got)
				}
				if offered < 8 {
					offerPlain(t, p, 1, true)
				}
			}
			p.Device.Fail(vring.FaultLoop)
			if p.Device.Growing(n) {
				t.Error("a ring that has failed is growing")
			}
		}
		if p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 4}); p.Device.Growing(n) {
			t.Error("too small a ring is growing")
		}
	})
}
