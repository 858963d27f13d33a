package port

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

const testEntries = 16

// pair joins a ring with the project's device side of rings.
type pair struct {
	ring
	device *vring.Device
	at     placement
	mem    []byte
	slots  [testEntries]uint16 // of chains, by their heads
}

func newPair(t *testing.T, write bool, mode ringMode) *pair {
	t.Helper()
	at := place(0, testEntries, 128)
	m, err := newMemory(at.end)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p := &pair{ring: newRing(m.bytes, at, testEntries, guestBase, at.room, write, mode), at: at, mem: m.bytes}
	table, err := mem.New([]mem.Region{{GPA: guestBase, Mem: m.bytes}})
	if err != nil {
		t.Fatal(err)
	}
	var first uint16
	if mode.packed {
		first = vring.FirstSlot
	}
	p.device, err = vring.NewDevice(vring.DeviceConfig{
		Size: testEntries, Mem: table, EventIdx: mode.eventIdx, Indirect: mode.indirect, Packed: mode.packed, NextAvail: first,
		Desc: guestBase + mem.GPA(at.desc), Avail: guestBase + mem.GPA(at.avail), Used: guestBase + mem.GPA(at.used),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// offer makes n slots available and returns them.
func (p *pair) offer(n int) (slots []uint16) {
	for range n {
		slots = append(slots, p.next())
	}
	p.publish()
	return slots
}

// pop takes all chains and checks that each is the buffer of its slot.
func (p *pair) pop(t *testing.T, write bool) (chains []vring.Chain) {
	t.Helper()
	var c vring.Chain
	for p.device.Available(); p.device.Pop(&c); {
		views, total := c.Read, c.ReadLen
		if write {
			views, total = c.Write, c.WriteLen
		}
		if int(total) != p.at.room || len(views) == 0 {
			t.Fatalf("a chain of %d bytes in %d parts is no buffer", total, len(views))
		}
		slot := uint16(int(uintptr(unsafe.Pointer(&views[0][0]))-uintptr(unsafe.Pointer(&p.mem[p.at.buffers]))) / p.at.stride)
		p.slots[c.Head] = slot
		if want := &p.mem[p.at.buffers+int(slot)*p.at.stride+headerAt]; &views[0][0] != want || !p.packed && slot != c.Head {
			t.Fatalf("chain of slot %d is not its buffer", c.Head)
		}
		chains = append(chains, c)
	}
	if err := p.device.Err(); err != nil {
		t.Fatal(err)
	}
	return chains
}

// slotOf is the slot whose buffer a popped chain is. A device has its own name for a
// chain of a packed ring.
func (p *pair) slotOf(c vring.Chain) uint16 { return p.slots[c.Head] }

// complete gives chains back; written is the slot number plus 20.
func (p *pair) complete(chains []vring.Chain) {
	for i := range chains {
		p.device.Push(chains[i].Head, uint32(p.slotOf(chains[i]))+20)
	}
	p.device.Publish()
	p.device.ResetViews()
}

// TestRingOrders runs rings around more than once with devices that complete in
// order, backwards and at random.
func TestRingOrders(t *testing.T) {
	orders := map[string]func(*rand.Rand, []vring.Chain){
		"in order":  func(*rand.Rand, []vring.Chain) {},
		"backwards": func(_ *rand.Rand, c []vring.Chain) { slices.Reverse(c) },
		"random":    func(r *rand.Rand, c []vring.Chain) { r.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] }) },
	}
	for name, order := range orders {
		for _, mode := range []ringMode{{}, {eventIdx: true}, {indirect: true}, {packed: true}, {packed: true, eventIdx: true}} {
			if mode.packed && name != "in order" {
				continue // the device side of this project completes packed rings in order
			}
			for _, write := range []bool{true, false} {
				t.Run(name, func(t *testing.T) { runRing(t, order, mode, write) })
			}
		}
	}
}

func runRing(t *testing.T, order func(*rand.Rand, []vring.Chain), mode ringMode, write bool) {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := newPair(t, write, mode)
	held := map[uint16]bool{} // slots with the device, by our own book
	var chains []vring.Chain
	for range 9000 { // idx wraps at 65536
		for _, slot := range p.offer(rnd.IntN(p.free() + 1)) {
			if held[slot] {
				t.Fatalf("slot %d is offered twice", slot)
			}
			held[slot] = true
		}
		chains = append(chains, p.pop(t, write)...)
		order(rnd, chains)
		n := rnd.IntN(len(chains) + 1)
		done := make([]uint16, n)
		for i := range done {
			done[i] = p.slotOf(chains[i])
		}
		p.complete(chains[:n])
		if got := p.look(); got != n {
			t.Fatalf("look sees %d completions, want %d", got, n)
		}
		for i := range done {
			slot, wrote, ok := p.take()
			want := uint32(done[i]) + 20
			if !write {
				want = 0
			}
			if !ok || slot != done[i] || wrote != want {
				t.Fatalf("take: slot %d wrote %d %v, want %d %d: %v", slot, wrote, ok, done[i], want, p.fault)
			}
			delete(held, slot)
		}
		if _, _, ok := p.take(); ok {
			t.Fatal("take hands out more than look saw")
		}
		chains = chains[n:]
		if got := testEntries - len(held); p.free() != got {
			t.Fatalf("%d slots free, want %d", p.free(), got)
		}
	}
}

// TestRingRefusesLies gives a ring impossible completions.
func TestRingRefusesLies(t *testing.T) {
	for name, tc := range map[string]struct {
		lie  func(d *vring.Device, held []vring.Chain)
		want error
	}{
		"more completions than buffers": {func(d *vring.Device, held []vring.Chain) {
			for range 5 {
				d.Push(held[0].Head, 20)
			}
		}, vring.FaultUsedIndex},
		"id outside the ring":    {func(d *vring.Device, _ []vring.Chain) { d.Push(testEntries, 20) }, vring.FaultUsedID},
		"id that is not held":    {func(d *vring.Device, _ []vring.Chain) { d.Push(9, 20) }, vring.FaultUsedID},
		"longer than the buffer": {func(d *vring.Device, held []vring.Chain) { d.Push(held[0].Head, 129) }, vring.FaultUsedLen},
		"the same buffer twice": {func(d *vring.Device, held []vring.Chain) {
			d.Push(held[1].Head, 20)
			d.Push(held[1].Head, 20)
		}, vring.FaultUsedID},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, true, ringMode{})
			p.offer(4)
			tc.lie(p.device, p.pop(t, true))
			p.device.Publish()
			for n := p.look(); n > 0; n-- {
				if _, _, ok := p.take(); !ok {
					break
				}
			}
			if !errors.Is(p.fault, tc.want) {
				t.Errorf("fault %v, want %v", p.fault, tc.want)
			}
			if _, _, ok := p.take(); ok {
				t.Error("a ring with a fault hands out buffers")
			}
		})
	}
}

// TestRingKicks checks that kicks follow the device's wish, and that the device
// sees ours for no interrupts.
func TestRingKicks(t *testing.T) {
	for _, mode := range []ringMode{{}, {eventIdx: true}, {packed: true}, {packed: true, eventIdx: true}} {
		p := newPair(t, true, mode)
		p.device.EnableKicks()
		p.offer(1)
		if !p.needKick() {
			t.Errorf("%+v: no kick though the device asked for one", mode)
		}
		p.complete(p.pop(t, true))
		if !mode.eventIdx && p.device.NeedSignal() {
			t.Errorf("%+v: the device would interrupt us", mode)
		}
		p.look()
		p.take()
		p.device.DisableKicks()
		p.offer(1)
		if p.needKick() {
			t.Errorf("%+v: kick though the device wants none", mode)
		}
	}
}

// TestRingSkip checks that completions without elements, as IN_ORDER allows, are
// counted.
func TestRingSkip(t *testing.T) {
	p := newPair(t, false, ringMode{})
	for range 10 {
		p.offer(7)
		p.complete(p.pop(t, false))
		if n := p.look(); n != 7 {
			t.Fatalf("look sees %d completions, want 7", n)
		}
		p.skip()
		if p.free() != testEntries {
			t.Fatalf("%d slots free after skip, want all", p.free())
		}
	}
}
