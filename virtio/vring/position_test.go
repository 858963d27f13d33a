package vring_test

import (
	"fmt"
	"math/rand"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// positionRig is a packed ring in use: buffers come and go, in order.
type positionRig struct {
	*vringtest.Pair
	rng  *rand.Rand
	most int // parts of a buffer
}

// work offers and completes some buffers and leaves some with the device side, which has
// taken none of those.
func (r *positionRig) work(t *testing.T) {
	t.Helper()
	for range r.rng.Intn(40) {
		for n := r.rng.Intn(6); n > 0; n-- {
			if _, err := r.Driver.Add(parts(1+r.rng.Intn(r.most)), nil); err != nil {
				break // full
			}
		}
		r.Driver.Publish()
		r.Device.Available()
		var c vring.Chain
		for n := r.rng.Intn(6); n > 0 && r.Device.Pop(&c); n-- {
			r.Device.Push(c.Head, 0)
		}
		r.Device.ResetViews()
		r.Device.Publish()
		if r.rng.Intn(2) == 0 {
			var u vring.Used
			for r.Driver.Completed(); r.Driver.Take(&u); {
			}
		}
	}
	if err := r.Device.Err(); err != nil {
		t.Fatal(err)
	}
}

// Where a packed ring stands is found whatever the driver's side says, as long as each
// buffer takes one slot. If buffers take several, what it says is believed if it is true.
func TestPackedPosition(t *testing.T) {
	for seed := range int64(400) {
		rng := rand.New(rand.NewSource(seed))
		size := []int{1, 2, 3, 8, 16, 255}[rng.Intn(6)]
		most := 1 + rng.Intn(min(3, size))
		r := &positionRig{Pair: vringtest.NewPair(t, vringtest.Config{Size: size, Packed: true, HeapBytes: 1 << 16}), rng: rng, most: most}
		name := fmt.Sprintf("seed %d: %d entries, up to %d slots for a buffer", seed, size, most)
		for range 5 {
			r.work(t)
			want := r.Device.NextAvail()
			for _, indirect := range []bool{false, true} {
				if got, err := vring.PackedPosition(r.Raw.Table, size, want, indirect); err != nil || got != want {
					for i := range size {
						t.Logf("%2d %+v", i, vringtest.PackedAt(r.Raw.Table, i))
					}
					t.Fatalf("%s: stands at %#x, want %#x as it was told (indirect %v): %v", name, got, want, indirect, err)
				}
			}
			if most > 1 {
				continue
			}
			for _, base := range []uint16{vring.FirstSlot, 0, 0xffff, uint16(rng.Intn(1 << 16))} {
				got, err := vring.PackedPosition(r.Raw.Table, size, base, true)
				if err != nil {
					t.Fatal(err)
				}
				if got != want && got != base {
					t.Fatalf("%s: stands at %#x, want %#x; told %#x", name, got, want, base)
				}
				if got != want && !believable(r, base, want) {
					t.Fatalf("%s: believes %#x, want %#x", name, base, want)
				}
			}
		}
	}
}

// believable reports whether the slot before base has the id of the buffer that was used
// last, by chance, for drivers use ids again, could be the rest of it, or if nothing is there to go by.
func believable(r *positionRig, base, want uint16) bool {
	size := r.DeviceConfig.Size
	before := func(word uint16) vringtest.Packed {
		return vringtest.PackedAt(r.Raw.Table, (int(word&0x7fff)+size-1)%size)
	}
	next := vringtest.Slot{At: int(want & 0x7fff), Wrap: want >> 15}.Next(1, size)
	blank := true
	for i := range size {
		blank = blank && vringtest.PackedAt(r.Raw.Table, i).Flags == 0
	}
	return blank || before(base).ID == before(want).ID || base == next.Word() // the last with a full ring
}

// A ring taken over at its position works on: nothing is lost, nothing comes twice.
func TestPackedRingIsTakenOver(t *testing.T) {
	for seed := range int64(50) {
		rng := rand.New(rand.NewSource(seed))
		p := vringtest.NewPair(t, vringtest.Config{Size: 16, Packed: true})
		r := &positionRig{Pair: p, rng: rng, most: 1}
		for range 4 {
			r.work(t)
			base := vring.FirstSlot // as QEMU says; elsewhere if that can be believed by chance
			if want := r.Device.NextAvail(); base != want && believable(r, base, want) {
				base = 0x7fff
			}
			var c vring.Chain
			if r.Device.Available(); r.Device.Pop(&c) {
				r.Device.ResetViews() // in the hands of a back-end that is killed now
			}
			cfg := p.DeviceConfig
			var err error
			if cfg.NextAvail, err = vring.PackedPosition(p.Raw.Table, 16, base, true); err != nil {
				t.Fatal(err)
			}
			if p.Device, err = vring.NewDevice(cfg); err != nil {
				t.Fatal(err)
			}
			for p.Device.Available() > 0 {
				for p.Device.Pop(&c) {
					p.Device.Push(c.Head, 0)
				}
				p.Device.ResetViews()
				p.Device.Publish()
			}
			var u vring.Used
			for p.Driver.Completed(); p.Driver.Take(&u); {
			}
			if p.Driver.Outstanding() != 0 || p.Driver.Err() != nil || p.Device.Err() != nil {
				t.Fatalf("%d buffers are lost: %v, %v", p.Driver.Outstanding(), p.Driver.Err(), p.Device.Err())
			}
		}
	}
}

// Garbage is no ring, and does no harm.
func FuzzPackedPosition(f *testing.F) {
	f.Add(make([]byte, 64), 4, uint16(0x8000), true)
	f.Add(make([]byte, 15), 1, uint16(0), false)
	f.Fuzz(func(t *testing.T, table []byte, size int, base uint16, indirect bool) {
		if size < 1 || size > 256 || len(table) < vring.TableBytes(size) {
			return
		}
		own := vringtest.NewPair(t, vringtest.Config{Size: size, Packed: true}).Raw.Table
		copy(own, table)
		at, err := vring.PackedPosition(own, size, base, indirect)
		if err != nil {
			t.Fatal(err)
		}
		if int(at&0x7fff) >= size && at != base { // which NewDevice refuses
			t.Fatalf("is at slot %d of %d", at&0x7fff, size)
		}
	})
}

// With IN_ORDER one completion stands for all buffers that were given back together, and
// still a back-end that comes after one that was killed finds the last of them, whatever it
// is told.
func TestPackedPositionInOrder(t *testing.T) {
	for seed := range int64(200) {
		rng := rand.New(rand.NewSource(seed))
		indirect := seed%2 == 0
		p := vringtest.NewPair(t, vringtest.Config{Size: 16, Packed: true, InOrder: true, ReadOnly: true, Indirect: indirect})
		at, _ := p.Alloc(64)
		for range 30 {
			for range rng.Intn(8) {
				parts := make([]vring.Part, 1+rng.Intn(3))
				for i := range parts {
					parts[i] = vringtest.Part(at, 10)
				}
				if _, err := p.Driver.Add(parts, nil); err != nil {
					break
				}
			}
			p.Driver.Publish()
			var chains [4]vring.Chain
			p.Device.Available()
			n := p.Device.PopBurst(chains[:rng.Intn(5)])
			for _, c := range chains[:n] {
				p.Device.Push(c.Head, 0)
			}
			p.Device.Publish()
			p.Device.ResetViews()
			want := p.Device.NextAvail()
			p.Device.PopBurst(chains[:2]) // in the hands of a back-end that is killed now
			p.Device.ResetViews()
			if want != vring.FirstSlot {
				got, err := vring.PackedPosition(p.Raw.Table, 16, 0x7fff, indirect)
				if err != nil || got != want {
					t.Fatalf("seed %d: at %#x, want %#x: %v", seed, got, want, err)
				}
			}
			cfg, err := p.DeviceConfig, error(nil)
			cfg.NextAvail = want
			if p.Device, err = vring.NewDevice(cfg); err != nil {
				t.Fatal(err)
			}
			var u vring.Used
			for p.Driver.Completed(); rng.Intn(4) > 0 && p.Driver.Take(&u); {
			}
			if p.Driver.Err() != nil || p.Device.Err() != nil {
				t.Fatal(p.Driver.Err(), p.Device.Err())
			}
		}
	}
}
