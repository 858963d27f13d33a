package vring_test

import (
	"bytes"
	"errors"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// elsewhere is a copy of guest memory at other addresses of this process.
func elsewhere(t *testing.T, table *mem.Table) *mem.Table {
	t.Helper()
	var regions []mem.Region
	for _, r := range table.Regions() {
		b := vringtest.Memory(len(r.Mem))
		copy(b, r.Mem)
		regions = append(regions, mem.Region{GPA: r.GPA, Mem: b})
	}
	copied, err := mem.New(regions)
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// copyBack makes the memory that the driver sees what the device has made of its own.
func copyBack(to, from *mem.Table) {
	for i, r := range from.Regions() {
		copy(to.Regions()[i].Mem, r.Mem)
	}
}

// A ring that moves goes on with what was offered at its old place, wherever it stands, and
// touches nothing there any more.
func TestRingMoves(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, HeapBytes: 4096})
		addr, buf := p.Alloc(32)
		copy(buf, "where it was")
		offer := func(n int) {
			t.Helper()
			for range n {
				if _, err := p.Driver.Add([]vring.Part{vringtest.Part(addr, 12)}, nil); err != nil {
					t.Fatal(err)
				}
			}
			p.Driver.Publish()
		}
		q, cfg := p.Device, p.DeviceConfig
		place := p.Mem
		for round := range 20 {
			offer(3)
			copyBack(place, p.Mem)
			if q.Available(); q.Pending() == 0 {
				t.Fatal(q.Err())
			}
			popOneMore := func() {
				t.Helper()
				var c vring.Chain
				if !q.Pop(&c) {
					t.Fatalf("round %d: nothing to pop, fault %v", round, q.Err())
				}
				checkChain(t, c, []byte("where it was"), 0, 1, 0)
				q.Push(c.Head, 0)
				q.Publish()
			}
			popOneMore()
			next := elsewhere(t, place)
			to, err := q.Place(next, cfg.Desc, cfg.Avail, cfg.Used)
			if err != nil {
				t.Fatal(err)
			}
			q.Move(to)
			var before [][]byte
			for _, r := range place.Regions() {
				before = append(before, bytes.Clone(r.Mem))
			}
			for q.Pending() > 0 || q.Available() > 0 {
				popOneMore()
			}
			q.EnableKicks()
			for i, r := range place.Regions() {
				if !bytes.Equal(r.Mem, before[i]) {
					t.Fatalf("round %d: the old place has changed", round)
				}
			}
			place = next
			copyBack(p.Mem, place)
			p.Driver.Completed()
			for u := (vring.Used{}); p.Driver.Take(&u); {
			}
			if p.Driver.Outstanding() != 0 || p.Driver.Err() != nil {
				t.Fatalf("round %d: %d buffers did not come back: %v", round, p.Driver.Outstanding(), p.Driver.Err())
			}
			if first := vringtest.Address(place.Regions()[0].Mem); !q.Owns(first) || q.Owns(vringtest.Address(p.Mem.Regions()[0].Mem)) {
				t.Error("the ring owns another place than the one it is at")
			}
		}
		if _, err := q.Place(place, nowhere, cfg.Avail, cfg.Used); !errors.Is(err, vring.FaultUnmapped) {
			t.Errorf("a place where there is no memory: %v", err)
		}
	})
}

// A ring counts as never offered to until the first buffer comes, and not at all if it begins
// elsewhere than at the beginning.
func TestOffered(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8})
		for range 2 {
			if p.Device.Offered() {
				t.Fatal("nothing was offered")
			}
		}
		addr, _ := p.Alloc(16)
		if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 16)}); err != nil {
			t.Fatal(err)
		}
		if p.Driver.Publish(); !p.Device.Offered() {
			t.Error("what was offered is not seen")
		}
		var c vring.Chain
		p.Device.Pop(&c)
		p.Device.Push(c.Head, 0)
		if p.Device.Publish(); !p.Device.Offered() {
			t.Error("forgotten once it was used")
		}
		p.DeviceConfig.NextAvail = p.Device.NextAvail()
		again, err := vring.NewDevice(p.DeviceConfig)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Offered() {
			t.Error("a ring that goes on was offered to before")
		}
	})
}

// What is fetched ahead is not touched: it may be anything, and nowhere.
func TestPrefetchTouchesNothing(t *testing.T) {
	vring.PrefetchSrc(nil)
	vring.PrefetchSrc([]vring.Op{{Src: 0, N: 100}, {Src: nowhere, N: 1 << 20}})
	p := vringtest.NewPair(t, vringtest.Config{Size: 8})
	addr, buf := p.Alloc(100)
	copy(buf, "as it was")
	if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 100)}); err != nil {
		t.Fatal(err)
	}
	p.Driver.Publish()
	popOne(t, p.Device)
	before := bytes.Clone(buf)
	if p.Device.PrefetchWrite(); !bytes.Equal(buf, before) {
		t.Error("the buffer has changed")
	}
}
