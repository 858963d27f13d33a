package vring_test

import (
	"fmt"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Rings of all sizes, filled to the last entry and emptied, with the indices
// going over 65535 on the way; buffers come back in reverse order every second
// time, with what the device wrote into them.
func TestFullRingsAcrossTheWrap(t *testing.T) { bothFormats(t, testFullRingsAcrossTheWrap) }

func testFullRingsAcrossTheWrap(t *testing.T, packed bool) {
	for _, size := range []int{1, 2, 4, 64, 256, 1024, 16384, 32768} {
		if size > 256 && vring.RaceEnabled {
			continue // there is one goroutine: nothing to detect, ten times slower
		}
		for _, ind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/indirect=%v", size, ind), func(t *testing.T) {
				start := uint16(65536 - min(size/2+1, 40000))
				p := vringtest.NewPair(t, vringtest.Config{Packed: packed,
					Size: size, Indirect: ind, IndirectParts: min(2, size), EventIdx: ind,
					Start: start, HeapBytes: 16*size + 64,
				})
				base, _ := p.Alloc(16 * size)
				for round := range 3 {
					want := place(packed, start+uint16(round*fill(size, ind)), size)
					if packed {
						slots := fill(size, ind)
						if !ind && size > 1 {
							slots *= 2
						}
						want = vringtest.SlotAt(int(start)+round*slots, size).Word()
					}
					if got := p.Device.NextAvail(); got != want {
						t.Fatalf("round %d begins at %d, want %d", round, got, want)
					}
					fillAndEmpty(t, p, uint64(base), packed, ind, round)
				}
			})
		}
	}
}

// fill is how many buffers of two parts (one, in a ring of one) fill a ring.
func fill(size int, ind bool) int {
	if size == 1 || ind {
		return size
	}
	return size / 2
}

func fillAndEmpty(t *testing.T, p *vringtest.Pair, base uint64, packed, ind bool, round int) {
	t.Helper()
	size := p.Driver.Size()
	n := fill(size, ind)
	content := make(map[uint16]uint32, n) // by head
	for i := range n {
		id := uint32(round<<16 + i)
		addr := base + uint64(i)*16
		read, write := []vring.Part{{Addr: addr, Len: 4}}, []vring.Part{{Addr: addr + 8, Len: 8}}
		if size == 1 {
			write = nil
		}
		view, ok := p.Mem.View(mem.GPA(addr), 4)
		if !ok {
			t.Fatal("buffer is not in memory")
		}
		put32(view, id)
		head, err := p.Driver.Add(read, write)
		if err != nil {
			t.Fatalf("buffer %d of %d: %v", i, n, err)
		}
		content[head] = id
	}
	if p.Driver.Free() != 0 || p.Driver.Outstanding() != n || len(content) != n {
		t.Fatalf("%d free, %d outstanding, %d heads", p.Driver.Free(), p.Driver.Outstanding(), len(content))
	}
	if _, err := p.Driver.Add([]vring.Part{{Addr: base, Len: 1}}, nil); err != vring.ErrFull {
		t.Fatalf("a full ring takes a buffer: %v", err)
	}
	p.Driver.Publish()
	got, before := p.Device.Available(), 0
	for got > before { // one look does not see all of a long packed ring
		got, before = p.Device.Available(), got
	}
	if got != n {
		t.Fatalf("%d chains are available, want %d; fault %v", got, n, p.Device.Err())
	}
	chains := make([]vring.Chain, n)
	for i := range chains {
		c := &chains[i]
		if !p.Device.Pop(c) {
			t.Fatal(p.Device.Err())
		}
		if id := get32(c.Read[0]); id != uint32(round<<16+i) || !packed && id != content[c.Head] {
			t.Fatalf("chain %d holds %#x", i, id)
		}
		c.Read, c.Write = slices.Clone(c.Read), slices.Clone(c.Write)
		p.Device.ResetViews() // in one burst they would be too much work
	}
	for i := range chains {
		c := &chains[i]
		if round%2 == 1 {
			c = &chains[n-1-i]
		}
		if len(c.Write) == 1 {
			put32(c.Write[0], ^get32(c.Read[0]))
		}
		p.Device.Push(c.Head, min(4, c.WriteLen))
	}
	p.Device.Publish()
	if got := p.Driver.Completed(); got != n {
		t.Fatalf("%d buffers are done, want %d; fault %v", got, n, p.Driver.Err())
	}
	var u vring.Used
	for i := range n {
		if !p.Driver.Take(&u) {
			t.Fatal(p.Driver.Err())
		}
		id, ok := content[u.Head]
		if !ok {
			t.Fatalf("buffer %d came back twice", u.Head)
		}
		delete(content, u.Head)
		order := i
		if round%2 == 1 {
			order = n - 1 - i
		}
		if id != uint32(round<<16+order) {
			t.Fatalf("buffer %#x came back at place %d", id, i)
		}
		if size > 1 {
			view, _ := p.Mem.View(mem.GPA(base+uint64(order)*16+8), 4)
			if u.Len != 4 || get32(view) != ^id {
				t.Fatalf("buffer %#x came back with %d bytes, %#x", id, u.Len, get32(view))
			}
		}
	}
	if p.Driver.Free() != size || p.Driver.Outstanding() != 0 || p.Driver.Err() != nil || p.Device.Err() != nil {
		t.Fatalf("%d free, %d outstanding, faults %v, %v", p.Driver.Free(), p.Driver.Outstanding(), p.Driver.Err(), p.Device.Err())
	}
}

// Ring indices are 16 bits: a lap of the whole index space, and some, one at a
// time through a ring of one entry and through one of four.
func TestLapOfTheIndexSpace(t *testing.T) { bothFormats(t, testLapOfTheIndexSpace) }

func testLapOfTheIndexSpace(t *testing.T, packed bool) {
	for _, size := range []int{1, 4} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: size, EventIdx: true})
		addr, buf := p.Alloc(4)
		part := []vring.Part{vringtest.Part(addr, 4)}
		var c vring.Chain
		var u vring.Used
		for i := range uint32(65536 + 100) {
			put32(buf, i)
			head, err := p.Driver.Add(part, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.Driver.Publish()
			if p.Device.Available() != 1 || !p.Device.Pop(&c) || !packed && c.Head != head || get32(c.Read[0]) != i {
				t.Fatalf("buffer %d: popped %d with %v, fault %v", i, c.Head, c.Read, p.Device.Err())
			}
			p.Device.Push(c.Head, 0)
			p.Device.ResetViews()
			p.Device.Publish()
			if p.Driver.Completed() != 1 || !p.Driver.Take(&u) || u.Head != head {
				t.Fatalf("buffer %d: took %d, fault %v", i, u.Head, p.Driver.Err())
			}
		}
		if got, want := p.Device.NextAvail(), place(packed, 100, size); got != want {
			t.Errorf("next is %d, want %d", got, want)
		}
		if !packed && (p.Raw.UsedIdx() != 100 || p.Raw.AvailIdx() != 100) {
			t.Errorf("indices are %d, %d, want 100", p.Raw.UsedIdx(), p.Raw.AvailIdx())
		}
	}
}

// An avail ring at 2 modulo 4, where idx shares its aligned word with an entry
// of the ring instead of the flags, works just as well.
func TestAvailRingAt2Mod4(t *testing.T) {
	for _, eventIdx := range []bool{false, true} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 4, AvailAt2Mod4: true, EventIdx: eventIdx, Start: 65530})
		addr, buf := p.Alloc(64)
		for i := range uint16(16) {
			slot := i % 4
			put32(buf[4*slot:], uint32(i)*0x01010101)
			vringtest.PutDesc(p.Raw.Table, int(slot), vring.Desc{Addr: uint64(addr) + 4*uint64(slot), Len: 4})
			p.Raw.SetAvailFlags(i & 1)
			p.Raw.SetUsedEvent(65530 + i - i&1) // crossed by the even ones
			p.Raw.Offer(slot)
			c := popOne(t, p.Device)
			if c.Head != slot || get32(c.Read[0]) != uint32(i)*0x01010101 {
				t.Fatalf("chain %d: head %d holds %#x", i, c.Head, get32(c.Read[0]))
			}
			p.Device.Push(c.Head, 0)
			p.Device.Publish()
			if got := p.Device.NeedSignal(); got != (i&1 == 0) {
				t.Errorf("chain %d: interrupt %v", i, got)
			}
		}
	}
}

// Bursts go round a ring, also one whose length they do not divide, in which they lie
// across the end; a burst that is broken off comes again.
func TestBurstsAcrossTheEnd(t *testing.T) { bothFormats(t, testBurstsAcrossTheEnd) }

func testBurstsAcrossTheEnd(t *testing.T, packed bool) {
	cfg := vringtest.Config{Packed: packed, Size: 64}
	if packed {
		cfg.Size = 67
	}
	p := vringtest.NewPair(t, cfg)
	addr, buf := p.Alloc(4 * 48)
	var chains [48]vring.Chain
	var u vring.Used
	item := uint32(0)
	for round := range 300 {
		n := 1 + round%48
		for i := range n {
			put32(buf[4*i:], item+uint32(i))
			if _, err := p.Driver.Add([]vring.Part{vringtest.Part(addr+mem.GPA(4*i), 4)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		if !p.Driver.Unkicked() {
			t.Fatal("a burst is published, and it is not said")
		}
		p.Driver.NeedKick()
		q := p.Device
		if q.Available() != n || q.PopBurst(chains[:n/2]) != n/2 {
			t.Fatalf("round %d: fault %v", round, q.Err())
		}
		q.Rewind()
		if got := q.PopBurst(chains[:]); got != n {
			t.Fatalf("round %d: popped %d after Rewind, want %d", round, got, n)
		}
		q.PrefetchRead()
		for i := range n {
			if got := get32(chains[i].Read[0]); got != item {
				t.Fatalf("round %d: chain %d holds %d, want %d", round, i, got, item)
			}
			item++
			q.Push(chains[i].Head, 0)
		}
		q.Publish()
		q.ResetViews()
		if p.Driver.Completed() != n {
			t.Fatalf("round %d: fault %v", round, p.Driver.Err())
		}
		for p.Driver.Take(&u) {
		}
	}
	// A chain at fault ends a burst.
	if packed {
		s := vringtest.SlotAt(int(item), cfg.Size)
		good := vringtest.Packed{Addr: uint64(addr), Len: 4}
		s.Offer(p.Raw, good, good, vringtest.Packed{Addr: nowhere, Len: 4}, good)
	} else {
		p.Raw.SetChain(vring.Desc{Addr: uint64(addr), Len: 4}, vring.Desc{Addr: nowhere, Len: 4})
		for _, head := range []uint16{0, 0, 1, 0} {
			p.Raw.Offer(head)
		}
	}
	if p.Device.Available(); p.Device.PopBurst(chains[:]) != 2 || p.Device.Err() != vring.FaultUnmapped {
		t.Errorf("fault %v", p.Device.Err())
	}
}
