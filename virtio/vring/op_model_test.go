package vring_test

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// TestRingAgainstModel with few chains in anybody's hands, so that buffers are served as
// ops most of the time.
func TestOpsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":                  m.check,
			"add":               m.addPlain,
			"add more":          m.addPlain,
			"add anything":      m.add,
			"show":              m.show,
			"show again":        m.show,
			"needKick":          m.needKick,
			"available":         m.available,
			"serve":             func(t *rapid.T) { m.pop(t); m.resolve(t) },
			"readOps":           m.readOps,
			"readOps again":     m.readOps,
			"writeOps":          m.writeOps,
			"writeOps again":    m.writeOps,
			"needSignal":        m.needSignal,
			"enableKicks":       m.enableKicks,
			"take all":          func(t *rapid.T) { m.completed(t); m.takeAll(t) },
			"enableInterrupts":  m.enableInterrupts,
			"disableInterrupts": m.disableInterrupts,
		})
	})
}

// resolve completes whatever is held.
func (m *model) resolve(t *rapid.T) {
	for len(m.held) > 0 {
		m.push(t)
	}
	m.publish(t)
	m.resetViews(t)
}

func (m *model) takeAll(t *rapid.T) {
	for m.seenDone > 0 {
		m.take(t)
	}
}

// Headers and frames of the model's plain buffers.
const (
	opHead  = 2
	opLeast = 1
	opMost  = 1000
)

// at is n bytes at an address that an op names.
func at(addr uint64, n uint32) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}

// looked notes what a look of the device side for ops has done to what it has seen: of a
// packed ring it forgets what it saw, of a split one it sees more if it had too little.
func (m *model) looked(enough bool) {
	switch {
	case m.cfg.Packed:
		m.seen = 0
	case !enough:
		m.seen = len(m.visible)
	}
}

// checkNone says what it means if there are no ops: what comes next is not plain, and
// waits for Pop, or nothing does.
func (m *model) checkNone(t *rapid.T, n int, plain func(*buffer) bool) {
	if n > len(m.visible) {
		t.Fatalf("%d ops for %d buffers", n, len(m.visible))
	}
	if n > 0 {
		return
	}
	waiting := m.seen
	if m.cfg.Packed {
		waiting = len(m.visible)
	}
	if got := m.p.Device.Waits(); got != (waiting > 0) {
		t.Fatalf("Waits says %v with %d waiting", got, waiting)
	}
	m.seen = waiting // Waits has looked
	if waiting > 0 && plain(m.visible[0]) {
		t.Fatalf("no op for a plain buffer of %d bytes to read and %d to write", len(m.visible[0].content), m.visible[0].writeLen)
	}
}

// addPlain adds a buffer that ops are likely to be good for.
func (m *model) addPlain(t *rapid.T) {
	parts := [2]int{rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "parts"), 0}
	if rapid.Bool().Draw(t, "write") {
		parts[0], parts[1] = parts[1], parts[0]
	}
	m.addParts(t, parts[0], parts[1])
}

// completeOps moves the next k buffers to those that are done.
func (m *model) completeOps(k int) {
	m.used += m.places(m.visible[:k]...)
	m.done = append(m.done, m.visible[:k]...)
	m.visible = m.visible[k:]
	if !m.cfg.Packed {
		m.seen -= k
	}
}

// Used descriptors of a packed ring say whether the device has written (2.8.2).
func TestPackedOpsSayWhatWasWritten(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
	addr, _ := p.Alloc(64)
	part := []vring.Part{vringtest.Part(addr, 64)}
	for range 3 {
		if _, err := p.Driver.Add(nil, part); err != nil {
			t.Fatal(err)
		}
	}
	p.Driver.Publish()
	ops := make([]vring.Op, 3)
	for i := range ops {
		ops[i].N = uint32(10 + i)
	}
	w := vring.Writing{Head: 12, Most: 50}
	if n, _ := p.Device.WriteOps(ops, &w); n != 3 {
		t.Fatalf("%d ops", n)
	}
	p.Device.CompleteWrites(ops, &w)
	for i := range ops {
		d := vringtest.PackedAt(p.Raw.Table, i)
		if want := vringtest.SlotAt(i, 4).Used() | vring.DescWrite; d.Flags != want || d.Len != uint32(22+i) {
			t.Errorf("used descriptor %d is %+v, want flags %#x and %d bytes", i, d, want, 22+i)
		}
	}
}

// What a driver may do and few do, or may not do, is no op, and Pop has the last word.
func TestWhatIsNoOp(t *testing.T) {
	const at = 0x1_0000_0000
	for name, c := range map[string]struct {
		ring  []vring.Desc // from descriptor 0 on
		table []vring.Desc // an indirect one, at at
	}{
		"indirect, not in order": {[]vring.Desc{{Addr: at, Len: 48, Flags: vring.DescIndirect}},
			[]vring.Desc{{Addr: at + 256, Len: 20, Flags: vring.DescNext, Next: 2}, {}, {Addr: at + 512, Len: 20}}},
		"indirect, in a circle": {[]vring.Desc{{Addr: at, Len: 32, Flags: vring.DescIndirect}},
			[]vring.Desc{{Addr: at + 256, Len: 20, Flags: vring.DescNext, Next: 0}, {Addr: at + 512, Len: 20}}},
		"indirect, past its end": {[]vring.Desc{{Addr: at, Len: 32, Flags: vring.DescIndirect}},
			[]vring.Desc{{Addr: at + 256, Len: 20, Flags: vring.DescNext, Next: 1}, {Addr: at + 512, Len: 20, Flags: vring.DescNext, Next: 2}}},
		"indirect in indirect":    {[]vring.Desc{{Addr: at, Len: 16, Flags: vring.DescIndirect}}, []vring.Desc{{Addr: at, Len: 16, Flags: vring.DescIndirect}}},
		"indirect, half an entry": {[]vring.Desc{{Addr: at, Len: 24, Flags: vring.DescIndirect}}, []vring.Desc{{Addr: at, Len: 40}}},
		"indirect, empty":         {[]vring.Desc{{Addr: at, Flags: vring.DescIndirect}}, nil},
		"indirect, writable":      {[]vring.Desc{{Addr: at, Len: 16, Flags: vring.DescIndirect}}, []vring.Desc{{Addr: at, Len: 40, Flags: vring.DescWrite}}},
		"indirect, nowhere":       {[]vring.Desc{{Addr: 1, Len: 16, Flags: vring.DescIndirect}}, nil},
		"next past the table":     {[]vring.Desc{{Addr: at, Len: 20, Flags: vring.DescNext, Next: 8}}, nil},
		"a circle":                {[]vring.Desc{{Addr: at, Len: 20, Flags: vring.DescNext}}, nil},
		"header in two":           {[]vring.Desc{{Addr: at, Len: 4, Flags: vring.DescNext, Next: 1}, {Addr: at + 256, Len: 40}}, nil},
		"nothing but a header":    {[]vring.Desc{{Addr: at, Len: 12}}, nil},
		"a runt":                  {[]vring.Desc{{Addr: at, Len: 25}}, nil},
		"too long":                {[]vring.Desc{{Addr: at, Len: 12 + 1001}}, nil},
		"too long in two":         {[]vring.Desc{{Addr: at, Len: 900, Flags: vring.DescNext, Next: 1}, {Addr: at + 1024, Len: 200}}, nil},
		"writable":                {[]vring.Desc{{Addr: at, Len: 100, Flags: vring.DescWrite}}, nil},
		"then writable":           {[]vring.Desc{{Addr: at, Len: 100, Flags: vring.DescNext, Next: 1}, {Addr: at, Len: 100, Flags: vring.DescWrite}}, nil},
		"nowhere":                 {[]vring.Desc{{Addr: 5, Len: 100}}, nil},
		"over the end":            {[]vring.Desc{{Addr: at + 1<<20 - 50, Len: 100}}, nil},
		"second over the end":     {[]vring.Desc{{Addr: at, Len: 100, Flags: vring.DescNext, Next: 1}, {Addr: at + 1<<20 - 50, Len: 100}}, nil},
	} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 8, Indirect: true})
		p.Raw.SetChain(c.ring...)
		for i, d := range c.table {
			vringtest.PutDesc(p.Mem.Regions()[1].Mem, i, d)
		}
		p.Raw.SetAvail(2, 40) // as descriptor 8 the avail ring would do: 40 bytes at RingBase
		p.Raw.Offer(0)
		var ops [vring.MaxOps]vring.Op
		var spread vring.Spread
		if n := p.Device.ReadOps(&ops, &spread, 12, 14, 1000); n != 0 || !p.Device.Waits() || p.Device.Err() != nil {
			t.Errorf("%s: %d ops, waits %v, fault %v", name, n, p.Device.Waits(), p.Device.Err())
		}
	}
}

// The same in a packed ring.
func TestWhatIsNoOpInAPackedRing(t *testing.T) {
	const at = 0x1_0000_0000
	for name, c := range map[string]struct {
		ring  []vringtest.Packed
		table []vringtest.Packed
	}{
		"a chain":              {[]vringtest.Packed{{Addr: at, Len: 20, Flags: vring.DescNext}, {Addr: at, Len: 40}}, nil},
		"nothing but a header": {[]vringtest.Packed{{Addr: at, Len: 12}}, nil},
		"a runt":               {[]vringtest.Packed{{Addr: at, Len: 25}}, nil},
		"too long":             {[]vringtest.Packed{{Addr: at, Len: 12 + 1001}}, nil},
		"writable":             {[]vringtest.Packed{{Addr: at, Len: 100, Flags: vring.DescWrite}}, nil},
		"nowhere":              {[]vringtest.Packed{{Addr: 5, Len: 100}}, nil},
		"over the end":         {[]vringtest.Packed{{Addr: at + 1<<20 - 50, Len: 100}}, nil},
		"indirect, writable":   {[]vringtest.Packed{{Addr: at, Len: 16, Flags: vring.DescIndirect}}, []vringtest.Packed{{Addr: at, Len: 40, Flags: vring.DescWrite}}},
		"indirect in indirect": {[]vringtest.Packed{{Addr: at, Len: 16, Flags: vring.DescIndirect}}, []vringtest.Packed{{Addr: at, Len: 40, Flags: vring.DescIndirect}}},
		"indirect, a runt":     {[]vringtest.Packed{{Addr: at, Len: 32, Flags: vring.DescIndirect}}, []vringtest.Packed{{Addr: at, Len: 12}, {Addr: at, Len: 13}}},
	} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8, Indirect: true})
		for i, d := range c.table {
			vringtest.PutPacked(p.Mem.Regions()[1].Mem, i, d)
		}
		vringtest.SlotAt(0, 8).Offer(p.Raw, c.ring...)
		var ops [vring.MaxOps]vring.Op
		var spread vring.Spread
		if n := p.Device.ReadOps(&ops, &spread, 12, 14, 1000); n != 0 || !p.Device.Waits() || p.Device.Err() != nil {
			t.Errorf("%s: %d ops, waits %v, fault %v", name, n, p.Device.Waits(), p.Device.Err())
		}
	}
}

// After completing ops the driver is told if it waits for one of them.
func TestOpsCountForEvents(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: true})
		addr, _ := p.Alloc(64)
		serve := func(n int) {
			for range n {
				if _, err := p.Driver.Add([]vring.Part{vringtest.Part(addr, 64)}, nil); err != nil {
					t.Fatal(err)
				}
			}
			p.Driver.Publish()
			var ops [vring.MaxOps]vring.Op
			var spread vring.Spread
			if got := p.Device.ReadOps(&ops, &spread, 12, 14, 1000); got != n {
				t.Fatalf("%d ops, want %d", got, n)
			}
			p.Device.CompleteReads(ops[:n])
		}
		take := func() {
			var u vring.Used
			for p.Driver.Completed(); p.Driver.Take(&u); {
			}
		}
		serve(1)
		p.Device.NeedSignal()
		for round := range 10 {
			take()
			p.Driver.EnableInterrupts() // for the next
			if serve(3); !p.Device.NeedSignal() {
				t.Fatalf("round %d: no interrupt for the first of three", round)
			}
			if take(); true {
				serve(2) // the event is passed
			}
			if p.Device.NeedSignal() {
				t.Fatalf("round %d: an interrupt that no one asked for", round)
			}
		}
	})
}
