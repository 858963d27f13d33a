package vring_test

import (
	"slices"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// The longest chains, of which a hostile driver can offer any number at no cost of its own, are
// taken a few at a time; the others stay for later, and the ring has no fault.
func TestWorkOfABurstIsBounded(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const parts, offered = vring.MaxChain, 32
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: parts, Indirect: true, IndirectParts: parts})
		addr, _ := p.Alloc(1)
		chain := slices.Repeat([]vring.Part{vringtest.Part(addr, 1)}, parts)
		for range offered {
			if _, err := p.Driver.Add(chain, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		q, taken, bursts := p.Device, 0, 0
		for q.Available() > 0 {
			chains := make([]vring.Chain, vring.MaxOps)
			q.ResetViews()
			n := q.PopBurst(chains)
			if n == 0 || n > 8 || q.Err() != nil {
				t.Fatalf("%d chains of %d parts at once, fault %v", n, parts, q.Err())
			}
			if left := offered - taken - n; q.Pending() != left || left > 0 && (!q.Exhausted() || q.Pop(new(vring.Chain))) {
				t.Fatalf("%d chains are left of %d, exhausted %v", q.Pending(), left, q.Exhausted())
			}
			for _, c := range chains[:n] {
				if c.ReadLen != parts {
					t.Fatalf("a chain of %d bytes", c.ReadLen)
				}
				q.Push(c.Head, 0)
			}
			q.Publish()
			taken, bursts = taken+n, bursts+1
		}
		if taken != offered || bursts < 4 {
			t.Errorf("%d chains in %d bursts", taken, bursts)
		}
	})
}

// Hundreds of tiny regions do not make a chain long: each of its buffers could lie in all of them. A buffer that does is
// good beside others that do not.
func TestPiecesOfAChainAreBounded(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const parts, regions, all = vring.MaxChain, 500, 500 * 16
		for _, c := range []struct {
			name  string
			wide  int // buffers that lie in all regions
			fault error
		}{{"one wide buffer", 1, nil}, {"all wide", parts, vring.FaultPieces}} {
			t.Run(c.name, func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: parts, Indirect: true, IndirectParts: parts, HeapBytes: all, Regions: regions})
				at := p.HeapAt(0)
				chain := append(slices.Repeat([]vring.Part{vringtest.Part(at, all)}, c.wide), slices.Repeat([]vring.Part{vringtest.Part(at, 16)}, parts-c.wide)...)
				if _, err := p.Driver.Add(chain, nil); err != nil {
					t.Fatal(err)
				}
				p.Driver.Publish()
				q := p.Device
				q.Available()
				var got vring.Chain
				switch popped := q.Pop(&got); {
				case popped != (c.fault == nil), popped && len(got.Read) != regions+parts-1:
					t.Errorf("popped %v, in %d pieces, fault %v", popped, len(got.Read), q.Err())
				case c.fault != nil && q.Err() != c.fault:
					t.Errorf("fault %v, want %v", q.Err(), c.fault)
				}
			})
		}
	})
}
