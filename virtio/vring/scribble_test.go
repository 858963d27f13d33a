package vring_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A guest that rewrites table, rings and indirect tables while they are served:
// what was checked must be what is used. The memory is off the heap, where the
// race detector does not mind; the race is the point.
func TestScribblingDriver(t *testing.T) {
	budget := 300 * time.Millisecond
	if vring.RaceEnabled {
		budget = 100 * time.Millisecond
	}
	p := vringtest.NewPair(t, vringtest.Config{
		Size: 8, Indirect: true, EventIdx: true, OffHeap: true, HeapBytes: 4096, Regions: 2, HeapBase: 0x1000,
	})
	var stop atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		scribble(p, &stop)
	}()
	faults := map[error]int{}
	chains := 0
	// On a busy machine the guest may not have had its turn when time is up.
	for start := time.Now(); time.Since(start) < budget || len(faults) < 3 && time.Since(start) < 10*time.Second; {
		cfg := p.DeviceConfig
		q, err := vring.NewDevice(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d := drainer{t: t, p: p}
		var c vring.Chain
		for burst := 0; q.Err() == nil && burst < 100; burst++ {
			for q.Available(); q.Pop(&c); chains++ {
				d.chain(&c)
				q.Push(c.Head, 0)
			}
			q.ResetViews()
			q.Publish()
		}
		if q.Err() != nil {
			faults[q.Err()]++
		}
	}
	stop.Store(true)
	<-stopped
	t.Logf("%d chains; faults: %v", chains, faults)
	if chains == 0 || len(faults) < 3 {
		t.Error("the guest did not get at the ring")
	}
}

// scribble writes good chains and bad ones, one after the other, into the same
// places.
func scribble(p *vringtest.Pair, stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	heap := p.Mem.Regions()[0].Mem // HeapBase is below RingBase
	good := []vring.Desc{
		{Addr: 0x1000, Len: 64}, {Addr: 0x1040, Len: 64, Flags: write}, {Addr: 0x1780, Len: 0x100},
		{Addr: 0x1000, Len: 32, Flags: indirect}, {Addr: 0x1100, Len: 1, Flags: next, Next: 1},
	}
	bad := []vring.Desc{
		{Addr: nowhere, Len: 64}, {Addr: 0x1000, Len: 0xffff_ffff}, {Addr: 0x1000, Len: 1, Flags: next, Next: 99},
		{Addr: 0x1000, Len: 0xffff_fff0, Flags: indirect}, {Addr: 0x1000, Len: 1, Flags: next},
	}
	for i := uint16(0); !stop.Load(); i++ {
		slot := int(i % 8)
		vringtest.PutDesc(p.Raw.Table, slot, good[rng.IntN(len(good))])
		vringtest.PutDesc(heap, slot%2, good[rng.IntN(3)])
		p.Raw.SetAvail(i, uint16(slot))
		p.Raw.SetAvailIdx(uint16(rng.IntN(9)))
		if rng.IntN(4) == 0 {
			vringtest.PutDesc(p.Raw.Table, slot, bad[rng.IntN(len(bad))])
			vringtest.PutDesc(heap, slot%2, bad[rng.IntN(len(bad))])
			p.Raw.SetAvail(i, uint16(rng.IntN(16)))
		}
	}
}
