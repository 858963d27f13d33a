package vring_test

import (
	"bytes"
	"errors"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// offerPlain offers n buffers of 100 bytes.
func offerPlain(t *testing.T, p *vringtest.Pair, n int, writable bool) {
	t.Helper()
	for range n {
		addr, _ := p.Alloc(100)
		parts := []vring.Part{vringtest.Part(addr, 100)}
		read, write := parts, []vring.Part(nil)
		if writable {
			read, write = nil, parts
		}
		if _, err := p.Driver.Add(read, write); err != nil {
			t.Fatal(err)
		}
	}
	p.Driver.Publish()
}

// A ring may fail while its buffers are on their way: the last look before a sleep finds that its
// index makes no sense. Nothing is published after that, and nothing waits in it.
func TestFailedRingCompletesNoOps(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		for _, writable := range []bool{false, true} {
			p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8})
			offerPlain(t, p, 5, writable)
			var ops [vring.MaxOps]vring.Op
			var s vring.Spread
			w := vring.Writing{Head: 12, Most: 88}
			n := 3
			if writable {
				if n, _ = p.Device.WriteOps(ops[:n], &w); n != 3 {
					t.Fatalf("%d places", n)
				}
			} else if n = p.Device.ReadOps(&ops, &s, 12, 14, 88); n != 5 {
				t.Fatalf("%d ops", n)
			}
			table, used := bytes.Clone(p.Raw.Table), bytes.Clone(p.Raw.Used)
			at := p.Device.Position()
			if packed {
				p.Device.Fail(vring.FaultLoop)
			} else if p.Raw.SetAvailIdx(1000); p.Device.EnableKicks() || !errors.Is(p.Device.Err(), vring.FaultAvailIndex) {
				t.Fatalf("fault %v", p.Device.Err())
			}
			copy(p.Raw.Used[:2], used) // the wish for kicks
			if writable {
				p.Device.CompleteWrites(ops[:n], &w)
			} else {
				p.Device.CompleteReads(ops[:n])
			}
			if !bytes.Equal(p.Raw.Table, table) || !bytes.Equal(p.Raw.Used, used) {
				t.Errorf("writable %v: completed in a ring that has failed", writable)
			}
			if p.Device.Pending() != 0 || p.Device.Position() != at {
				t.Errorf("writable %v: %d pending, at %#x, was at %#x", writable, p.Device.Pending(), p.Device.Position(), at)
			}
		}
	})
}

// If the look for more buffers finds the ring broken those before have no places either.
func TestNoPlacesInARingThatFails(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8})
	offerPlain(t, p, 1, true)
	var parts []vring.Part
	for range 2 {
		addr, _ := p.Alloc(60)
		parts = append(parts, vringtest.Part(addr, 60))
	}
	if _, err := p.Driver.Add(nil, parts); err != nil {
		t.Fatal(err)
	}
	p.Driver.Publish()
	p.Device.Available()
	p.Raw.SetAvailIdx(1000)
	w := vring.Writing{Head: 12, Most: 88}
	n, wait := p.Device.WriteOps([]vring.Op{{N: 80}, {N: 80}}, &w)
	if n != 0 || wait || !errors.Is(p.Device.Err(), vring.FaultAvailIndex) {
		t.Errorf("%d places, waits %v, fault %v", n, wait, p.Device.Err())
	}
}
