package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// However much a driver offers at once, a look takes a bounded time; who asks for kicks
// is told of chains beyond it, until all are seen, and none is missed.
func TestLookAtALongPackedRing(t *testing.T) {
	const size = 32768
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: size, EventIdx: true})
	at, _ := p.Alloc(16)
	for range size {
		if _, err := p.Driver.Add([]vring.Part{vringtest.Part(at, 16)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.Driver.Publish()
	q := p.Device
	seen, n := 0, q.Available()
	for ; n > seen; n = q.Available() {
		if n-seen > 2*vring.MaxChain {
			t.Fatalf("%d chains looked at at once", n-seen)
		}
		seen = n
		if before := q.Pending(); seen < size/2 && (!q.EnableKicks() || q.Pending() <= before) {
			t.Fatalf("with %d of %d chains seen, nothing new is said to wait", seen, size)
		}
		seen = q.Pending()
	}
	if n != size {
		t.Errorf("%d of %d chains seen", n, size)
	}
}

// Chains in front of one without an end can be taken back, and come again.
func TestUnpopInFrontOfAnEndlessChain(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, HeapBytes: 8192})
	at, _ := p.Alloc(16)
	s := vringtest.SlotAt(0, 8)
	for id := range uint16(2) {
		s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 1, ID: id, Flags: next}, vringtest.Packed{Addr: uint64(at), Len: 1, ID: id})
	}
	for range 4 {
		s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 1, Flags: next})
	}
	q := p.Device
	var first, again [3]vring.Chain
	if n := q.Available(); n != 3 || q.PopBurst(first[:2]) != 2 {
		t.Fatalf("%d chains, fault %v", n, q.Err())
	}
	q.Unpop(2)
	q.ResetViews()
	if n := q.PopBurst(again[:]); n != 2 || again[0].Head != first[0].Head || again[1].Head != first[1].Head || q.Err() != vring.FaultLoop {
		t.Errorf("%d chains come again, %d and %d as %d and %d, then %v", n, first[0].Head, first[1].Head, again[0].Head, again[1].Head, q.Err())
	}
}
