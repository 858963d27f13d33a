package vring_test

import (
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// packedAttack is what a hostile driver does to a packed ring of 8 entries, from slot
// s on; at is memory that it may use.
type packedAttack struct {
	name     string
	want     vring.Fault
	direct   bool // without INDIRECT_DESC
	readOnly bool // the device only reads
	play     func(r vringtest.Raw, p *vringtest.Pair, s vringtest.Slot, at uint64)
}

// packedTable offers an indirect table that lies at the end of the memory at at.
func packedTable(r vringtest.Raw, p *vringtest.Pair, s vringtest.Slot, at uint64, flags uint16, parts ...vringtest.Packed) {
	table := make([]byte, len(parts)*vring.DescSize)
	for i, d := range parts {
		vringtest.PutPacked(table, i, d)
	}
	p.Write(mem.GPA(at)+1024, table)
	s.Offer(r, vringtest.Packed{Addr: at + 1024, Len: uint32(len(table)), Flags: flags | indirect})
}

var packedAttacks = []packedAttack{
	{name: "chain of the whole ring that goes on", want: vring.FaultLoop,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			for range 7 {
				s = s.Offer(r, vringtest.Packed{Addr: at, Len: 1, Flags: next})
			}
		}},
	{name: "empty buffers without end", want: vring.FaultLoop,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, _ uint64) {
			for range 7 {
				s = s.Offer(r, vringtest.Packed{Flags: next})
			}
		}},
	{name: "buffer outside memory", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, _ uint64) {
			s.Offer(r, vringtest.Packed{Addr: nowhere, Len: 1})
		}},
	{name: "buffer runs out of memory", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 1 << 31})
		}},
	{name: "address that wraps around", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, _ uint64) {
			s.Offer(r, vringtest.Packed{Addr: ^uint64(0), Len: 2})
		}},
	{name: "second buffer outside memory", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 1, Flags: next}, vringtest.Packed{Addr: nowhere, Len: 1})
		}},
	{name: "readable after writable", want: vring.FaultOrder,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 1, Flags: next | write}, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "readable after writable in a table", want: vring.FaultOrder,
		play: func(r vringtest.Raw, p *vringtest.Pair, s vringtest.Slot, at uint64) {
			packedTable(r, p, s, at, 0, vringtest.Packed{Addr: at, Len: 1, Flags: write}, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "readable after writable, not in a table, of a ring that is only read", want: vring.FaultOrder, readOnly: true,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 1, Flags: next | write}, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "indirect without the feature", want: vring.FaultIndirect, direct: true,
		play: func(r vringtest.Raw, p *vringtest.Pair, s vringtest.Slot, at uint64) {
			packedTable(r, p, s, at, 0, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "indirect in a chain without the feature", want: vring.FaultIndirect, direct: true,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 16, Flags: next | indirect}, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "indirect with next", want: vring.FaultIndirectChain,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 16, Flags: next | indirect}, vringtest.Packed{Addr: at, Len: 1})
		}},
	{name: "indirect at the end of a chain", want: vring.FaultIndirectChain,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 1, Flags: next}, vringtest.Packed{Addr: at, Len: 16, Flags: indirect})
		}},
	{name: "empty table", want: vring.FaultIndirectSize,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Flags: indirect})
		}},
	{name: "table of one and a half", want: vring.FaultIndirectSize,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 24, Flags: indirect})
		}},
	{name: "table too long", want: vring.FaultIndirectSize,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: (vring.MaxChain + 1) * vring.DescSize, Flags: indirect})
		}},
	{name: "table of 4 GiB", want: vring.FaultIndirectSize,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, at uint64) {
			s.Offer(r, vringtest.Packed{Addr: at, Len: 0xffff_fff0, Flags: indirect})
		}},
	{name: "table outside memory", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, _ *vringtest.Pair, s vringtest.Slot, _ uint64) {
			s.Offer(r, vringtest.Packed{Addr: nowhere, Len: 32, Flags: indirect})
		}},
	{name: "buffer of a table outside memory", want: vring.FaultUnmapped,
		play: func(r vringtest.Raw, p *vringtest.Pair, s vringtest.Slot, at uint64) {
			packedTable(r, p, s, at, 0, vringtest.Packed{Addr: nowhere, Len: 1})
		}},
}

// Every attack stops the ring with its fault, behind a chain that is still good, and
// on both laps; the driver sees nothing of it, whatever is called.
func TestHostilePackedDriver(t *testing.T) {
	for _, a := range packedAttacks {
		for _, start := range []uint16{0, 7, 14} {
			t.Run(a.name, func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, Indirect: !a.direct, EventIdx: start > 0, Start: start, HeapBytes: 8192})
				if a.readOnly {
					cfg := p.DeviceConfig
					cfg.NextAvail, cfg.ReadOnly = uint16(p.Device.Position()), true
					var err error
					if p.Device, err = vring.NewDevice(cfg); err != nil {
						t.Fatal(err)
					}
				}
				at, buf := p.Alloc(2048)
				copy(buf, "good")
				s := vringtest.SlotAt(int(start), 8).Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 4, ID: 3})
				a.play(p.Raw, p, s, uint64(at))
				q := p.Device
				var c vring.Chain
				if n := q.Available(); n < 2 || !q.Pop(&c) {
					t.Fatalf("%d chains, fault %v", n, q.Err())
				}
				checkChain(t, c, []byte("good"), 0, 1, 0)
				q.Push(c.Head, 0)
				before := string(p.Raw.Table) + string(p.Raw.Used)
				c = vring.Chain{Head: 77}
				if q.Pop(&c) || c.Head != 77 || c.Read != nil || c.Write != nil {
					t.Fatalf("popped %+v", c)
				}
				if q.Err() != a.want {
					t.Fatalf("fault is %v, want %v", q.Err(), a.want)
				}
				for range 2 {
					if q.Available() != 0 || q.Pending() != 0 || q.Pop(&c) || q.PopBurst(make([]vring.Chain, 4)) != 0 {
						t.Error("a chain is handed out after the fault")
					}
					q.Push(0, 1)
					q.DisableKicks()
					if q.Publish() || q.NeedSignal() || q.EnableKicks() {
						t.Error("the ring is at work after the fault")
					}
					q.Unpop(1)
					q.ForgetSignals()
					q.ResetViews()
				}
				if string(p.Raw.Table)+string(p.Raw.Used) != before {
					t.Error("the ring changed after the fault")
				}
				if q.Err() != a.want {
					t.Errorf("fault became %v", q.Err())
				}
			})
		}
	}
}

// Harmless oddities: reserved flags in a table, write on the descriptor that refers
// to it, and where the device only reads, write in the table, as DPDK's driver has it.
func TestPackedTableOddities(t *testing.T) {
	for name, tt := range map[string]struct {
		flags    [2]uint16
		outer    uint16
		readOnly bool
		read     int
		write    int
	}{
		"plain":                   {read: 7},
		"reserved flags":          {flags: [2]uint16{next | vringtest.Avail, 0xffff &^ (write | indirect)}, read: 7},
		"nested":                  {flags: [2]uint16{indirect, indirect | next}, read: 7},
		"outer write":             {outer: write, read: 7},
		"writable":                {flags: [2]uint16{0, write}, read: 3, write: 4},
		"DPDK's header":           {flags: [2]uint16{write, next}, readOnly: true, read: 7},
		"DPDK's stale descriptor": {flags: [2]uint16{0, write}, readOnly: true, read: 7},
	} {
		t.Run(name, func(t *testing.T) {
			p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4, Indirect: true})
			p.DeviceConfig.ReadOnly = tt.readOnly
			q, err := vring.NewDevice(p.DeviceConfig)
			if err != nil {
				t.Fatal(err)
			}
			at, buf := p.Alloc(2048)
			copy(buf, "headbody")
			packedTable(p.Raw, p, vringtest.SlotAt(0, 4), uint64(at), tt.outer,
				vringtest.Packed{Addr: uint64(at), Len: 3, Flags: tt.flags[0], ID: 9}, vringtest.Packed{Addr: uint64(at) + 4, Len: 4, Flags: tt.flags[1], ID: 9})
			c := popOne(t, q)
			want := []byte("heabody")[:tt.read]
			checkChain(t, c, want, tt.write, min(2, 1+tt.read/7), tt.write/4)
		})
	}
}

// What the driver rewrites between the look at a chain and its turn changes neither
// how many slots it takes nor what it is given back for.
func TestPackedRewrittenChain(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, Indirect: true})
	at, _ := p.Alloc(64)
	good := vringtest.Packed{Addr: uint64(at), Len: 8, ID: 5}
	linked := good
	linked.Flags = next
	s := vringtest.SlotAt(0, 8)
	s.Offer(p.Raw, good, linked, good, good)
	q := p.Device
	if q.Available() != 3 {
		t.Fatal(q.Err())
	}
	s.Offer(p.Raw, linked, good, good, linked) // ends moved: still 1, 2 and 1 slots
	var chains [3]vring.Chain
	if q.PopBurst(chains[:]) != 3 {
		t.Fatal(q.Err())
	}
	for i, want := range []uint32{8, 16, 8} {
		if chains[i].ReadLen != want {
			t.Errorf("chain %d has %d bytes, want %d", i, chains[i].ReadLen, want)
		}
	}
	for i := range 8 {
		vringtest.PutPacked(p.Raw.Table, i, vringtest.Packed{ID: 0xffff, Flags: 0xffff})
	}
	for _, c := range chains {
		q.Push(c.Head, 0)
	}
	q.Publish()
	for i, slot := range []int{0, 1, 3} {
		if d := vringtest.PackedAt(p.Raw.Table, slot); d.ID != 5 || d.Flags != s.Used() {
			t.Errorf("completion %d: %+v", i, d)
		}
	}
	if q.Position() != 0x8004_8004 {
		t.Errorf("position %#x", q.Position())
	}
}

// A chain of as many slots as are free is good; so is one of MaxChain, and no longer.
func TestPackedLongestChain(t *testing.T) {
	for _, tt := range []struct {
		size, held, chain int
		want              error
	}{
		{8, 0, 8, nil}, {8, 3, 5, nil}, {8, 3, 6, vring.FaultLoop}, {8, 7, 2, vring.FaultLoop},
		{2048, 0, vring.MaxChain, nil}, {2048, 0, vring.MaxChain + 1, vring.FaultLoop},
	} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: tt.size})
		at, _ := p.Alloc(16)
		q := p.Device
		s := vringtest.SlotAt(0, tt.size)
		var c vring.Chain
		for range tt.held {
			s = s.Offer(p.Raw, vringtest.Packed{Addr: uint64(at), Len: 1})
		}
		for q.Available(); q.Pop(&c); { // and held
		}
		for i := range tt.chain {
			d := vringtest.Packed{Addr: uint64(at), Len: 1, Flags: next}
			if i == tt.chain-1 {
				d.Flags = 0
			}
			s = s.Offer(p.Raw, d)
		}
		if q.Available() != 1 {
			t.Fatalf("%+v: %d available", tt, q.Pending())
		}
		if ok := q.Pop(&c); ok != (tt.want == nil) || q.Err() != tt.want {
			t.Errorf("%+v: popped %v, fault %v", tt, ok, q.Err())
		}
	}
}

// A ring whose every slot is in our hands is not looked at, whatever it says.
func TestPackedFullRing(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
	at, _ := p.Alloc(16)
	good := vringtest.Packed{Addr: uint64(at), Len: 1}
	s := vringtest.SlotAt(0, 4).Offer(p.Raw, good, good, good, good)
	q := p.Device
	chains := make([]vring.Chain, 8)
	if q.Available() != 4 || q.PopBurst(chains) != 4 {
		t.Fatal(q.Err())
	}
	s.Offer(p.Raw, good, good, good, good)
	if n := q.Available(); n != 0 || q.Err() != nil {
		t.Errorf("%d chains in a full ring, fault %v", n, q.Err())
	}
	q.Push(chains[0].Head, 0) // its slot now holds the completion, not the next lap's chain
	q.Publish()
	if n := q.Available(); n != 0 {
		t.Errorf("%d chains", n)
	}
	s.Offer(p.Raw, good)
	if n := q.Available(); n != 1 {
		t.Errorf("%d chains, want the one in the slot given back", n)
	}
}
