package vring_test

import (
	"bytes"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Short names for the descriptors that tests write by hand.
const (
	next     = vring.DescNext
	write    = vring.DescWrite
	indirect = vring.DescIndirect
)

// pattern is n bytes that tell their place.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7)
	}
	return b
}

// popOne looks at the ring and pops its only chain.
func popOne(t *testing.T, q *vring.Device) vring.Chain {
	t.Helper()
	var c vring.Chain
	if n := q.Available(); n != 1 {
		t.Fatalf("%d chains are available, want 1; fault: %v", n, q.Err())
	}
	if !q.Pop(&c) {
		t.Fatalf("no chain; fault: %v", q.Err())
	}
	return c
}

// checkChain compares a chain with the contents of its readable side, the length
// of its writable side, and the number of views.
func checkChain(t *testing.T, c vring.Chain, read []byte, writeLen, readViews, writeViews int) {
	t.Helper()
	if got := vringtest.Join(c.Read); !bytes.Equal(got, read) {
		t.Errorf("device reads %x, want %x", got, read)
	}
	if int(c.ReadLen) != len(read) || int(c.WriteLen) != writeLen {
		t.Errorf("lengths %d and %d, want %d and %d", c.ReadLen, c.WriteLen, len(read), writeLen)
	}
	if got := len(vringtest.Join(c.Write)); got != writeLen {
		t.Errorf("device may write %d bytes, want %d", got, writeLen)
	}
	if len(c.Read) != readViews || len(c.Write) != writeViews {
		t.Errorf("%d and %d views, want %d and %d", len(c.Read), len(c.Write), readViews, writeViews)
	}
	for _, v := range append(append([][]byte(nil), c.Read...), c.Write...) {
		if len(v) == 0 {
			t.Error("empty view")
		}
	}
}

// chainCase is a chain written by hand over memory that holds a pattern. Buffers
// are named by their offset into that memory.
type chainCase struct {
	table      []vring.Desc // the ring's table from entry 0; the head is 0
	tables     []vring.Desc // the indirect table
	tableFlags uint16       // more flags of the descriptor that refers to it
	prefix     int          // direct descriptors before it
	read       [][2]int     // offset and length of what the device must read
	writeLen   int
	views      [2]int
}

// Chains as drivers write them, direct, indirect and mixed.
func TestPopShapes(t *testing.T) {
	for name, tt := range map[string]chainCase{
		"one readable": {
			table: []vring.Desc{{Addr: 0, Len: 60}},
			read:  [][2]int{{0, 60}}, views: [2]int{1, 0},
		},
		"one writable": {
			table:    []vring.Desc{{Addr: 0, Len: 60, Flags: write}},
			writeLen: 60, views: [2]int{0, 1},
		},
		"both, out of order in the table": {
			table: []vring.Desc{
				{Addr: 100, Len: 3, Flags: next, Next: 5}, {Addr: 300, Len: 9, Flags: write},
				{}, {}, {}, {Addr: 200, Len: 4, Flags: next, Next: 1},
			},
			read: [][2]int{{100, 3}, {200, 4}}, writeLen: 9, views: [2]int{2, 1},
		},
		"next is ignored without its flag": {
			table: []vring.Desc{{Addr: 0, Len: 1, Next: 0xffff}},
			read:  [][2]int{{0, 1}}, views: [2]int{1, 0},
		},
		"unknown flags are ignored": {
			table: []vring.Desc{{Addr: 0, Len: 1, Flags: 0xfff8}},
			read:  [][2]int{{0, 1}}, views: [2]int{1, 0},
		},
		"empty buffers have no view": {
			table: []vring.Desc{
				{Addr: 0, Len: 0, Flags: next, Next: 1}, {Addr: 7, Len: 2, Flags: next, Next: 2},
				{Addr: 1 << 60, Len: 0, Flags: next | write, Next: 3}, {Addr: 9, Len: 0, Flags: write},
			},
			read: [][2]int{{7, 2}}, views: [2]int{1, 0},
		},
		"nothing but an empty buffer": {
			table: []vring.Desc{{}},
		},
		"the same buffer twice": {
			table: []vring.Desc{{Addr: 8, Len: 4, Flags: next, Next: 1}, {Addr: 8, Len: 4}},
			read:  [][2]int{{8, 4}, {8, 4}}, views: [2]int{2, 0},
		},
		"as long as the ring": {
			table: []vring.Desc{
				{Addr: 0, Len: 1, Flags: next, Next: 7}, {Addr: 7, Len: 1, Flags: write},
				{Addr: 6, Len: 1, Flags: next, Next: 1}, {Addr: 5, Len: 1, Flags: next, Next: 2},
				{Addr: 4, Len: 1, Flags: next, Next: 3}, {Addr: 3, Len: 1, Flags: next, Next: 4},
				{Addr: 2, Len: 1, Flags: next, Next: 5}, {Addr: 1, Len: 1, Flags: next, Next: 6},
			},
			read: [][2]int{{0, 7}}, writeLen: 1, views: [2]int{7, 1},
		},
		"indirect of one": {
			tables: []vring.Desc{{Addr: 40, Len: 4}},
			read:   [][2]int{{40, 4}}, views: [2]int{1, 0},
		},
		"indirect of three, not in order": {
			tables: []vring.Desc{
				{Addr: 40, Len: 4, Flags: next, Next: 2}, {Addr: 60, Len: 6, Flags: write}, {Addr: 50, Len: 5, Flags: next, Next: 1},
			},
			read: [][2]int{{40, 4}, {50, 5}}, writeLen: 6, views: [2]int{2, 1},
		},
		"indirect table with entries to spare": {
			tables: []vring.Desc{{Addr: 40, Len: 4}, {Addr: 1 << 50, Len: 1, Flags: next, Next: 99}},
			read:   [][2]int{{40, 4}}, views: [2]int{1, 0},
		},
		// 2.7.5.3.2: the device ignores the write flag of that descriptor.
		"indirect marked writable": {
			tables: []vring.Desc{{Addr: 40, Len: 4}}, tableFlags: write,
			read: [][2]int{{40, 4}}, views: [2]int{1, 0},
		},
		// 2.7.5.3.2: direct descriptors may come before an indirect one.
		"direct, then indirect": {
			table:  []vring.Desc{{Addr: 10, Len: 2, Flags: next, Next: 1}, {Addr: 20, Len: 2, Flags: next, Next: 2}},
			prefix: 2,
			tables: []vring.Desc{{Addr: 30, Len: 2, Flags: next, Next: 1}, {Addr: 40, Len: 2, Flags: write}},
			read:   [][2]int{{10, 2}, {20, 2}, {30, 2}}, writeLen: 2, views: [2]int{3, 1},
		},
		"direct writable, then indirect": {
			table:  []vring.Desc{{Addr: 10, Len: 2, Flags: next, Next: 1}, {Addr: 20, Len: 3, Flags: next | write, Next: 2}},
			prefix: 2,
			tables: []vring.Desc{{Addr: 30, Len: 4, Flags: write | next, Next: 1}, {Addr: 40, Len: 5, Flags: write}},
			read:   [][2]int{{10, 2}}, writeLen: 12, views: [2]int{1, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := vringtest.NewPair(t, vringtest.Config{Size: 8, Indirect: true})
			base, buf := p.Alloc(512)
			copy(buf, pattern(512, 1))
			move := func(chain []vring.Desc) []vring.Desc {
				moved := append([]vring.Desc(nil), chain...)
				for i := range moved {
					if moved[i].Addr < 512 {
						moved[i].Addr += uint64(base)
					}
				}
				return moved
			}
			p.Raw.SetChain(move(tt.table)...)
			if tt.tables != nil {
				at, table := p.Alloc(len(tt.tables) * vring.DescSize)
				for i, d := range move(tt.tables) {
					vringtest.PutDesc(table, i, d)
				}
				vringtest.PutDesc(p.Raw.Table, tt.prefix, vring.Desc{
					Addr: uint64(at), Len: uint32(len(table)), Flags: indirect | tt.tableFlags, Next: 0xffff,
				})
			}
			var want []byte
			for _, r := range tt.read {
				want = append(want, buf[r[0]:r[0]+r[1]]...)
			}
			p.Raw.Offer(0)
			checkChain(t, popOne(t, p.Device), want, tt.writeLen, tt.views[0], tt.views[1])
		})
	}
}

// A buffer that lies across the border of two regions comes in two views, in
// order, even where our mappings of the regions are in another order.
func TestPopAcrossRegions(t *testing.T) {
	for _, before := range []int{1, 100, 511, 999} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 4, HeapBytes: 6 * 1024, Regions: 6})
		read, written := p.AllocAcross(before, 1000), p.AllocAcross(before, 1000)
		want := pattern(1000, byte(before))
		p.Write(read, want)
		p.Raw.SetChain(
			vring.Desc{Addr: uint64(read), Len: 1000, Flags: next, Next: 1},
			vring.Desc{Addr: uint64(written), Len: 1000, Flags: write},
		)
		p.Raw.Offer(0)
		c := popOne(t, p.Device)
		checkChain(t, c, want, 1000, 2, 2)
		if len(c.Read[0]) != before || len(c.Write[0]) != before {
			t.Errorf("first views have %d and %d bytes, want %d", len(c.Read[0]), len(c.Write[0]), before)
		}
		rest := want
		for _, v := range c.Write {
			rest = rest[copy(v, rest):]
		}
		if got := p.Read(written, 1000); !bytes.Equal(got, want) {
			t.Errorf("with %d bytes before the border, what the device wrote is not there", before)
		}
	}
}

// A buffer may span regions altogether.
func TestPopAcrossManyRegions(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4, HeapBytes: 5 * 64, Regions: 5})
	base := p.AllocAcross(1, 2) - 63
	want := pattern(5*64-2, 9)
	p.Write(base+1, want)
	p.Raw.SetChain(vring.Desc{Addr: uint64(base) + 1, Len: uint32(len(want))})
	p.Raw.Offer(0)
	checkChain(t, popOne(t, p.Device), want, 0, 5, 0)
}

// An indirect table that lies across the border of two regions, cut between and
// inside descriptors.
func TestPopIndirectTableAcrossRegions(t *testing.T) {
	for before := 1; before < 3*vring.DescSize; before++ {
		p := vringtest.NewPair(t, vringtest.Config{Size: 4, Indirect: true, HeapBytes: 4096, Regions: 4})
		addr, buf := p.Alloc(30)
		copy(buf, pattern(30, 3))
		at := p.AllocAcross(before, 3*vring.DescSize)
		table := make([]byte, 3*vring.DescSize)
		vringtest.PutDesc(table, 0, vring.Desc{Addr: uint64(addr), Len: 10, Flags: next, Next: 1})
		vringtest.PutDesc(table, 1, vring.Desc{Addr: uint64(addr) + 10, Len: 10, Flags: next, Next: 2})
		vringtest.PutDesc(table, 2, vring.Desc{Addr: uint64(addr) + 20, Len: 10, Flags: write})
		p.Write(at, table)
		p.Raw.SetChain(vring.Desc{Addr: uint64(at), Len: uint32(len(table)), Flags: indirect})
		p.Raw.Offer(0)
		checkChain(t, popOne(t, p.Device), buf[:20], 10, 2, 1)
	}
}

// A table may be longer than its ring, up to the longest chain: a short ring's driver makes such.
func TestPopTableLongerThanTheRing(t *testing.T) {
	for _, packed := range []bool{false, true} {
		const n = vring.MaxChain
		p := vringtest.NewPair(t, vringtest.Config{Size: 4, Packed: packed, Indirect: true})
		addr, buf := p.Alloc(n)
		copy(buf, pattern(n, 3))
		at, table := p.Alloc(vring.TableBytes(n))
		for i := range n {
			part := uint64(addr) + uint64(i)
			if packed {
				vringtest.PutPacked(table, i, vringtest.Packed{Addr: part, Len: 1})
				continue
			}
			d := vring.Desc{Addr: part, Len: 1, Flags: next, Next: uint16(i + 1)}
			if i == n-1 {
				d.Flags, d.Next = 0, 0
			}
			vringtest.PutDesc(table, i, d)
		}
		if packed {
			vringtest.SlotAt(0, 4).Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: uint32(len(table)), Flags: indirect})
		} else {
			p.Raw.SetChain(vring.Desc{Addr: uint64(at), Len: uint32(len(table)), Flags: indirect})
			p.Raw.Offer(0)
		}
		checkChain(t, popOne(t, p.Device), buf, 0, n, 0)
	}
}

// Ring, table and buffers may overlap; the device trusts none of it twice.
func TestPopRingMemoryAsBuffer(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4})
	used := p.DeviceConfig.Used
	p.Raw.SetChain(vring.Desc{Addr: uint64(used), Len: uint32(len(p.Raw.Used)), Flags: write})
	p.Raw.Offer(0)
	c := popOne(t, p.Device)
	for _, v := range c.Write {
		for i := range v {
			v[i] = 0xff
		}
	}
	p.Device.Push(c.Head, c.WriteLen)
	if !p.Device.Publish() || p.Raw.UsedIdx() != 1 {
		t.Errorf("used.idx is %d after the guest had it overwritten, want 1", p.Raw.UsedIdx())
	}
}

// Views are bounded in capacity too: appending to one cannot reach what follows
// it in the guest's memory, nor the views of the next chain.
func TestViewsHaveNoSpareCapacity(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4})
	addr, _ := p.Alloc(64)
	p.Raw.SetChain(
		vring.Desc{Addr: uint64(addr), Len: 8, Flags: next, Next: 1},
		vring.Desc{Addr: uint64(addr) + 8, Len: 8, Flags: write},
	)
	p.Raw.Offer(0)
	c := popOne(t, p.Device)
	if cap(c.Read) != len(c.Read) || cap(c.Write) != len(c.Write) {
		t.Errorf("view lists have capacity %d and %d", cap(c.Read), cap(c.Write))
	}
	if cap(c.Read[0]) != 8 || cap(c.Write[0]) != 8 {
		t.Errorf("views have capacity %d and %d", cap(c.Read[0]), cap(c.Write[0]))
	}
}

// A ring's longest chain: MaxChain descriptors, not one more.
func TestPopMaxChain(t *testing.T) {
	for _, n := range []int{vring.MaxChain, vring.MaxChain + 1} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 2048})
		addr, buf := p.Alloc(n)
		copy(buf, pattern(n, 0))
		for i := range n {
			d := vring.Desc{Addr: uint64(addr) + uint64(i), Len: 1, Flags: next, Next: uint16(i + 1)}
			if i == n-1 {
				d.Flags, d.Next = 0, 0
			}
			vringtest.PutDesc(p.Raw.Table, i, d)
		}
		p.Raw.Offer(0)
		var c vring.Chain
		p.Device.Available()
		switch ok := p.Device.Pop(&c); {
		case n > vring.MaxChain && (ok || p.Device.Err() != vring.FaultLoop):
			t.Errorf("chain of %d: %v, %v", n, ok, p.Device.Err())
		case n <= vring.MaxChain && !ok:
			t.Errorf("chain of %d: %v", n, p.Device.Err())
		case n <= vring.MaxChain:
			checkChain(t, c, buf, 0, n, 0)
		}
	}
}

// A region may end at the very top of what a GPA can say but one.
func TestPopAtTheTopOfTheAddressSpace(t *testing.T) {
	const top = ^mem.GPA(0)
	p := vringtest.NewPair(t, vringtest.Config{Size: 4, HeapBytes: 64, HeapBase: top - 64})
	p.Raw.SetChain(vring.Desc{Addr: uint64(top) - 8, Len: 8})
	p.Raw.Offer(0)
	checkChain(t, popOne(t, p.Device), make([]byte, 8), 0, 1, 0)

	p = vringtest.NewPair(t, vringtest.Config{Size: 4, HeapBytes: 64, HeapBase: top - 64})
	p.Raw.SetChain(vring.Desc{Addr: uint64(top) - 8, Len: 0x20000}) // would wrap to 0
	p.Raw.Offer(0)
	var c vring.Chain
	p.Device.Available()
	if p.Device.Pop(&c) || p.Device.Err() != vring.FaultUnmapped {
		t.Errorf("buffer that wraps around: fault %v", p.Device.Err())
	}
}
