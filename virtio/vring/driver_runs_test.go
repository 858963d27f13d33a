package vring_test

import (
	"fmt"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// eachRing runs a test with both formats, with and without IN_ORDER.
func eachRing(t *testing.T, test func(t *testing.T, cfg vringtest.Config)) {
	for i := range 4 {
		cfg := vringtest.Config{Size: 8, Packed: i&1 != 0, InOrder: i&2 != 0, EventIdx: true}
		t.Run(fmt.Sprintf("packed=%v,in order=%v", cfg.Packed, cfg.InOrder), func(t *testing.T) { test(t, cfg) })
	}
}

// pop takes a chain as the device does.
func pop(t *testing.T, p *vringtest.Pair) (c vring.Chain) {
	t.Helper()
	p.Device.ResetViews()
	if p.Device.Available() == 0 || !p.Device.Pop(&c) {
		t.Fatalf("no buffer: %v", p.Device.Err())
	}
	return c
}

// A buffer that is offered again is the same one, lap after lap, whatever was taken in between.
func TestRenewedBuffersAreTheSame(t *testing.T) {
	eachRing(t, func(t *testing.T, cfg vringtest.Config) {
		p := vringtest.NewPair(t, cfg)
		q := p.Driver
		first := map[uint16]*byte{}
		var waiting []uint16 // heads, as they were offered
		for i := range 8 {
			addr, b := p.Alloc(64 + i)
			head, err := q.Add(nil, []vring.Part{vringtest.Part(addr, len(b))})
			if err != nil {
				t.Fatal(err)
			}
			first[head], waiting = &b[0], append(waiting, head)
		}
		q.Publish()
		for lap := range 50 {
			n := 1 + lap%5
			for i := range n {
				c := pop(t, p)
				if len(c.Write) != 1 || &c.Write[0][0] != first[waiting[i]] || len(c.Write[0]) != 64+int(waiting[i]) || len(c.Read) != 0 {
					t.Fatalf("lap %d: buffer %d is another one", lap, waiting[i])
				}
				p.Device.Push(c.Head, 60)
				p.Device.Publish()
			}
			if q.Completed() != n {
				t.Fatalf("lap %d: %d finished, want %d: %v", lap, q.Completed(), n, q.Err())
			}
			finished := q.Finished()
			if len(finished) != n || finished[0].Len != 60 {
				t.Fatalf("lap %d: finished %+v", lap, finished)
			}
			for i, u := range finished {
				if u.Head != waiting[i] {
					t.Fatalf("lap %d: finished %+v, want heads %v", lap, finished, waiting[:n])
				}
			}
			waiting = append(waiting[n:], waiting[:n]...)
			got := q.Renew(n)
			if cfg.InOrder {
				if got != 0 {
					t.Fatalf("%d renewed, out of the order of descriptors", got)
				}
				return
			}
			if got != n || q.Outstanding() != 8 || q.Free() != 0 || q.Renew(1) != 0 || !q.Publish() {
				t.Fatalf("lap %d: %d of %d renewed, %d outstanding, %d free", lap, got, n, q.Outstanding(), q.Free())
			}
		}
	})
}

// Only buffers of one part that the device writes are renewed; the rest is there for Take.
func TestRenewStopsAtOtherBuffers(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for name, other := range map[string]func(q *vring.Driver) error{
			"read":  func(q *vring.Driver) error { _, err := q.Add(parts(1), nil); return err },
			"chain": func(q *vring.Driver) error { _, err := q.Add(nil, parts(2)); return err },
		} {
			p := vringtest.NewPair(t, vringtest.Config{Size: 8, Packed: packed})
			q := p.Driver
			for _, add := range []func() error{
				func() error { _, err := q.Add(nil, parts(1)); return err }, func() error { return other(q) },
			} {
				if err := add(); err != nil {
					t.Fatal(err)
				}
			}
			q.Publish()
			for range 2 {
				p.Device.Push(pop(t, p).Head, 0)
				p.Device.Publish()
			}
			q.Completed()
			var u vring.Used
			if k := q.Renew(5); k != 1 || !q.Take(&u) || q.Take(&u) || q.Outstanding() != 1 {
				t.Errorf("packed %v, %s: %d renewed, %d outstanding", packed, name, k, q.Outstanding())
			}
		}
	}
}

// Buffers that are added together arrive one by one, in order, under the heads that were told
// beforehand; what is taken together is free again.
func TestManyAtATime(t *testing.T) {
	eachRing(t, func(t *testing.T, cfg vringtest.Config) {
		p := vringtest.NewPair(t, cfg)
		q := p.Driver
		var at []mem.GPA
		var views []*byte
		for range 8 {
			addr, b := p.Alloc(100)
			at, views = append(at, addr), append(views, &b[0])
		}
		for lap := range 50 {
			n := 1 + lap%7
			var list []vring.Part
			heads := make([]uint16, n)
			for i := range n {
				list = append(list, vringtest.Part(at[(lap+i)%8], 10+i))
			}
			q.NextHeads(heads)
			if got := q.AddReads(list); got != n || q.Free() != 8-n || q.Outstanding() != n || !q.Publish() {
				t.Fatalf("lap %d: %d of %d added, %d free", lap, got, n, q.Free())
			}
			var popped []vring.Chain
			for i := range n {
				c := pop(t, p)
				if len(c.Read) != 1 || &c.Read[0][0] != views[(lap+i)%8] || len(c.Read[0]) != 10+i {
					t.Fatalf("lap %d: buffer %d is not what was added", lap, i)
				}
				popped = append(popped, c)
			}
			if !cfg.InOrder {
				slices.Reverse(popped)
			}
			for _, c := range popped {
				p.Device.Push(c.Head, 0)
			}
			p.Device.Publish()
			k := q.Completed()
			for _, u := range q.Finished() {
				if i := slices.Index(heads, u.Head); i < 0 {
					t.Fatalf("lap %d: finished %+v, was told %v", lap, u, heads)
				} else {
					heads[i] = 0xffff
				}
			}
			if k != n || q.TakeAll() != n || q.Free() != 8 || q.Outstanding() != 0 {
				t.Fatalf("lap %d: %d finished of %d, %d free: %v", lap, k, n, q.Free(), q.Err())
			}
		}
		if got := q.AddReads(slices.Repeat(parts(1), 9)); got != 8 {
			t.Errorf("%d of 9 added to a ring of 8", got)
		}
	})
}

// A broken answer after good ones: those are handed out, then the ring has failed.
func TestTakeAllEndsAtAFault(t *testing.T) {
	for _, packed := range []bool{false, true} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 8, Packed: packed})
		q := p.Driver
		heads := make([]uint16, 3)
		q.NextHeads(heads)
		q.AddReads(slices.Repeat(parts(1), 3))
		q.Publish()
		for i := range 2 { // the same one a second time
			if packed {
				vringtest.SlotAt(i, 8).Complete(p.Raw, heads[1], 0)
			} else {
				p.Raw.Complete(uint32(heads[1]), 0)
			}
		}
		if q.Completed(); len(q.Finished()) != 1 || q.TakeAll() != 1 || q.Err() != vring.FaultUsedID {
			t.Errorf("packed %v: fault %v, want %v after one", packed, q.Err(), vring.FaultUsedID)
		}
		if q.TakeAll() != 0 || q.Renew(1) != 0 || q.AddReads(parts(1)) != 0 || q.Finished() != nil {
			t.Errorf("packed %v: a ring with a fault goes on", packed)
		}
	}
}
