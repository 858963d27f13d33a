package vring_test

import (
	"testing"

	"vvufwd/virtio/mem"
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

// Who looks for chains while the first of them are being read, as before a sleep, and has some of these completed finds all that are left,
// also if the ring is logged by then and Pop alone serves it.
func TestChainsSeenWhileOthersAreRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		chain  int // slots of each
		logged bool
	}{{"passes go on", 1, false}, {"logged", 1, true}, {"logged chains of two", 2, true}} {
		t.Run(c.name, func(t *testing.T) {
			const size, offered = 8, 8
			p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: size, HeapBase: 0x100000})
			q := p.Device
			n := offered / c.chain
			at, _ := p.Alloc(100)
			s := vringtest.SlotAt(0, size)
			s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 100})
			for id := 1; id < n; id++ {
				d := vringtest.Packed{Addr: uint64(at), Len: 50, ID: uint16(id)}
				if c.chain == 1 {
					s = s.Offer(p.Raw, d)
					continue
				}
				first := d
				first.Flags = next
				s = s.Offer(p.Raw, first, d)
			}
			var ops [vring.MaxOps]vring.Op
			want := 1
			if c.chain == 1 {
				want = n
			}
			if got := q.ReadOps(&ops, new(vring.Spread), 12, 14, 1000); got != want {
				t.Fatalf("%d ops, want %d", got, want)
			}
			q.EnableKicks()
			q.CompleteReads(ops[:1])
			if c.logged {
				log, err := mem.NewDirtyLog(p.Mem, make([]byte, mem.DirtyPage), 0, mem.DirtyPage)
				if err != nil {
					t.Fatal(err)
				}
				l, _ := vring.NewLogging(log, p.DeviceConfig.Desc, p.DeviceConfig.Used, size, true)
				q.SetLogging(l)
			}
			chains := make([]vring.Chain, offered)
			if got := q.Available(); got != n-1 || q.PopBurst(chains) != n-1 || q.Err() != nil {
				t.Errorf("%d chains are seen of %d left, fault %v", got, n-1, q.Err())
			}
		})
	}
}
