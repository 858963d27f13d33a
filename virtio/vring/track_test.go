package vring_test

import (
	"encoding/binary"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// trackLayout is where a front-end finds what is in a back-end's hands (vhost-user, "Inflight I/O
// tracking"): the size of the header, which is that of an entry too.
func trackLayout(packed bool) int {
	if packed {
		return 32
	}
	return 16
}

// inFlight is how many chains the record says are in a back-end's hands.
func inFlight(memory []byte, size int, packed bool) (n int) {
	each := trackLayout(packed)
	for i := range size {
		n += int(memory[each*(1+i)])
	}
	return n
}

// Chains that go back to a tracked ring, not completed, are on no record any more, and a
// back-end that comes next begins before them. The entries of a packed ring stay whole: each
// is in the list of free ones, once.
func TestTrackedChainsGoBack(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const size = 16
		memory := vringtest.Memory(vring.TrackBytes(size, packed))
		p := vringtest.NewPair(t, vringtest.Config{Size: size, Packed: packed})
		cfg := p.DeviceConfig
		cfg.Track, cfg.Resumed = vring.NewTracker(memory, size, packed, 1)
		d, err := vring.NewDevice(cfg)
		if err != nil {
			t.Fatal(err)
		}
		record := func(what string, want int) {
			t.Helper()
			if got := inFlight(memory, size, packed); got != want {
				t.Fatalf("%s: %d chains are on record, want %d", what, got, want)
			}
		}
		done, slots := 0, 0 // in all
		var chains [8]vring.Chain
		for round := range 40 {
			n := 2 + round%5
			for k := range n {
				parts := make([]vring.Part, 1+k%2)
				for i := range parts {
					addr, _ := p.Alloc(20)
					parts[i] = vringtest.Part(addr, 20)
				}
				if _, err := p.Driver.Add(parts, nil); err != nil {
					t.Fatal(err)
				}
			}
			p.Driver.Publish()
			d.Available()
			d.ResetViews()
			if got := d.PopBurst(chains[:n]); got != n {
				t.Fatalf("%d chains of %d", got, n)
			}
			record("taken", n)
			d.Unpop(n - 1)
			record("all but one taken back", 1)
			d.Push(chains[0].Head, 0)
			d.Publish()
			record("that one completed", 0)
			slots++
			if next := trackedAgain(t, p, memory, done+1, slots, size); packed && next != d.NextAvail() {
				t.Fatalf("round %d: the next back-end begins at %#x, want %#x", round, next, d.NextAvail())
			}
			if got := d.PopBurst(chains[:n-1]); got != n-1 {
				t.Fatalf("%d chains of %d come again", got, n-1)
			}
			record("taken again", n-1)
			for i, c := range chains[:n-1] {
				d.Push(c.Head, 0)
				slots += 1 + (i+1)%2
			}
			d.Publish()
			record("all completed", 0)
			done += n
			p.Driver.Completed()
			for u := (vring.Used{}); p.Driver.Take(&u); {
			}
			if p.Driver.Outstanding() != 0 || p.Driver.Err() != nil {
				t.Fatalf("%d buffers did not come back: %v", p.Driver.Outstanding(), p.Driver.Err())
			}
		}
		if packed {
			seen := map[uint16]bool{}
			at := binary.LittleEndian.Uint16(memory[12:])
			for ; !seen[at]; at = binary.LittleEndian.Uint16(memory[32*(1+int(at))+2:]) {
				seen[at] = true
			}
			if len(seen) != size {
				t.Errorf("%d entries are free, want all %d", len(seen), size)
			}
		}
		if first := vringtest.Address(memory); !d.Owns(first) || !d.Owns(first+uintptr(len(memory))-1) || d.Owns(first+uintptr(len(memory))) {
			t.Error("the tracking memory is not the ring's, or more is")
		}
	})
}

// trackedAgain is where a back-end begins that comes after one that was killed now, for packed rings.
func trackedAgain(t *testing.T, p *vringtest.Pair, memory []byte, done, slots, size int) uint16 {
	t.Helper()
	if !p.DeviceConfig.Packed {
		if got := int(p.Raw.UsedIdx()); got != done&0xffff {
			t.Fatalf("%d completed, want %d", got, done)
		}
		return 0
	}
	tracker, resumed := vring.NewTracker(memory, size, true, 2)
	at, ok := tracker.PackedBase(p.Raw.Table)
	if want := vringtest.SlotAt(slots, size).Word(); !resumed || !ok || at != want {
		t.Fatalf("resumed %v, at %#x, %v; want %#x", resumed, at, ok, want)
	}
	if _, ok := tracker.PackedBase(p.Raw.Table[:vring.DescSize]); ok {
		t.Fatal("a ring that is not there whole has a base")
	}
	if _, err := vring.PackedPosition(p.Raw.Table[:vring.DescSize], size, at, false); err == nil {
		t.Fatal("a ring that is not there whole has a position")
	}
	return at
}
