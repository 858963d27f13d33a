package vring_test

import (
	"bytes"
	"fmt"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A back-end is killed between any two of its stores to a packed ring, while it gives several
// chains back at once: the next one finds all of them again, as they were, and begins with the
// first, also where chains take several slots and the driver uses indirect tables elsewhere.
func TestKilledWhileGivingBack(t *testing.T) {
	const size = 16
	for _, c := range []struct{ write, inOrder, indirect bool }{{}, {write: true}, {inOrder: true}, {indirect: true}, {write: true, indirect: true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: size, InOrder: c.inOrder, ReadOnly: c.inOrder})
			p.DeviceConfig.Indirect = c.indirect
			memory := vringtest.Memory(vring.TrackBytes(size, true))
			boot := func() *vring.Device {
				t.Helper()
				cfg := p.DeviceConfig
				var err error
				if cfg.Track, cfg.Resumed = vring.NewTracker(memory, size, true, 1); cfg.Resumed {
					at, ok := cfg.Track.PackedBase(p.Raw.Table)
					if !ok {
						t.Fatal("the record is of no use")
					}
					if cfg.NextAvail, err = vring.PackedPosition(p.Raw.Table, size, at, c.indirect); err != nil {
						t.Fatal(err)
					}
				}
				q, err := vring.NewDevice(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return q
			}
			q := boot()
			for round := range 60 {
				sizes := offerParts(t, p, 2+round%4, round, c.write)
				heads := takeAll(t, q, sizes)
				table, record, at := bytes.Clone(p.Raw.Table), bytes.Clone(memory), q.NextAvail()
				base := q.Stand()
				for _, h := range heads {
					q.Push(h, uint32(round%2*20))
				}
				q.Publish()
				after, later := bytes.Clone(p.Raw.Table), bytes.Clone(memory)
				var changed []int // slots
				for i := range size {
					if !bytes.Equal(table[i*vring.DescSize:][:vring.DescSize], after[i*vring.DescSize:][:vring.DescSize]) {
						changed = append(changed, i)
					}
				}
				for cut := range len(changed) + 1 {
					copy(p.Raw.Table, table)
					copy(memory, record)
					for _, field := range []int{12, 13, 16, 17, 20} { // free_head, used_idx and used_wrap_counter, which are noted before
						memory[field] = later[field]
					}
					// The first slot's length is stored first, its id and flags last.
					first := int(base&0x7fff) * vring.DescSize
					copy(p.Raw.Table[first+8:first+12], after[first+8:])
					for _, i := range changed[:cut] {
						if i*vring.DescSize != first {
							copy(p.Raw.Table[i*vring.DescSize:], after[i*vring.DescSize:][:vring.DescSize])
						}
					}
					next := boot()
					if next.Stand() != base {
						t.Fatalf("round %d, %d of %d slots stored: the next back-end begins at %#x, want %#x", round, cut, len(changed), next.Stand(), base)
					}
					if !bytes.Equal(p.Raw.Table, table) {
						t.Fatalf("round %d, %d of %d slots stored: the descriptors are not what they were", round, cut, len(changed))
					}
					takeAll(t, next, sizes)
					if next.NextAvail() != at {
						t.Fatalf("round %d: went on to %#x, want %#x", round, next.NextAvail(), at)
					}
				}
				// Killed after all was shown: nothing comes again.
				copy(p.Raw.Table, after)
				copy(memory, record)
				for _, field := range []int{12, 13, 16, 17, 20} {
					memory[field] = later[field]
				}
				if q = boot(); q.Stand() != at || q.Available() != 0 {
					t.Fatalf("round %d: at %#x with %d chains, want %#x", round, q.Stand(), q.Pending(), at)
				}
				p.Driver.Completed()
				for u := (vring.Used{}); p.Driver.Take(&u); {
				}
				if p.Driver.Outstanding() != 0 || p.Driver.Err() != nil {
					t.Fatalf("round %d: %d buffers did not come back: %v", round, p.Driver.Outstanding(), p.Driver.Err())
				}
			}
		})
	}
}

// offerParts offers n chains of one to three parts, and returns how many bytes each has.
func offerParts(t *testing.T, p *vringtest.Pair, n, seed int, write bool) (sizes []uint32) {
	t.Helper()
	for k := range n {
		var parts []vring.Part
		total := 0
		for i := range 1 + (k+seed)%3 {
			addr, _ := p.Alloc(30 + i)
			parts = append(parts, vringtest.Part(addr, 30+i))
			total += 30 + i
		}
		read, written := parts, []vring.Part(nil)
		if write {
			read, written = nil, parts
		}
		if _, err := p.Driver.Add(read, written); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, uint32(total))
	}
	p.Driver.Publish()
	return sizes
}

// takeAll takes the chains of these sizes, which are all that wait.
func takeAll(t *testing.T, q *vring.Device, sizes []uint32) (heads []uint16) {
	t.Helper()
	q.Available()
	q.ResetViews()
	for c := (vring.Chain{}); q.Pop(&c); {
		if k := len(heads); k == len(sizes) || c.ReadLen+c.WriteLen != sizes[k] {
			t.Fatalf("chain %d has %d bytes, want %v", k, c.ReadLen+c.WriteLen, sizes)
		}
		heads = append(heads, c.Head)
	}
	if len(heads) != len(sizes) || q.Err() != nil {
		t.Fatalf("%d chains, want %d; fault %v", len(heads), len(sizes), q.Err())
	}
	return heads
}

// A record that its owner has made up, of other buffers than those in the ring, puts nothing into
// the ring; one without end comes to an end.
func TestMadeUpRecordRestoresNothing(t *testing.T) {
	const size, entry = 8, 32
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: size})
	memory := vringtest.Memory(vring.TrackBytes(size, true))
	cfg := p.DeviceConfig
	cfg.Track, _ = vring.NewTracker(memory, size, true, 1)
	q, err := vring.NewDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	takeAll(t, q, offerParts(t, p, 2, 0, false))
	table, record := bytes.Clone(p.Raw.Table), bytes.Clone(memory)
	for name, forge := range map[string]func(){
		"another address": func() { memory[entry*1+24] ^= 0x40 },
		"next nowhere":    func() { memory[entry*2+2], memory[entry*2+3], memory[entry*2+4] = 0xff, 0xff, 7 },
		"a circle":        func() { memory[entry*2+2], memory[entry*2+4] = 1, 7 },
		"no end":          func() { memory[entry*2+4], memory[entry*2+5] = 0xff, 0xff },
	} {
		copy(memory, record)
		memory[16]++ // used_idx: something was being given back
		forge()
		tracker, resumed := vring.NewTracker(memory, size, true, 2)
		at, ok := tracker.PackedBase(p.Raw.Table)
		if !resumed || !ok || at != vring.FirstSlot {
			t.Errorf("%s: resumed %v, at %#x, %v", name, resumed, at, ok)
		}
		used := 3 * vring.DescSize // and what lies after that is its owner's to spoil
		if !bytes.Equal(p.Raw.Table[:used], table[:used]) {
			t.Errorf("%s: the ring has changed", name)
		}
	}
}
