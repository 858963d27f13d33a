package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// rig sends bursts of equal buffers around a ring, for benchmarks and for the
// proof that this takes no memory. Its burst is what a forwarder does at once.
type rig struct {
	p           *vringtest.Pair
	read, write []vring.Part
	burst       int
	chains      []vring.Chain
	used        []vring.Used
}

// shape is a kind of buffer: how many parts each side has, and whether they are
// in an indirect table.
type shape struct {
	name        string
	read, write int
	indirect    bool
}

var shapes = []shape{
	{"one", 1, 0, false},
	{"chain of two", 1, 1, false},
	{"indirect of three", 1, 2, true},
}

const rigBurst = 32

func newRig(t vringtest.TB, s shape, cfg vringtest.Config) *rig {
	cfg.Indirect, cfg.IndirectParts = s.indirect, max(2, s.read+s.write)
	r := &rig{
		p: vringtest.NewPair(t, cfg), burst: rigBurst,
		chains: make([]vring.Chain, rigBurst), used: make([]vring.Used, rigBurst),
	}
	for i := range s.read + s.write {
		addr, _ := r.p.Alloc(64)
		if part := vringtest.Part(addr, 64); i < s.read {
			r.read = append(r.read, part)
		} else {
			r.write = append(r.write, part)
		}
	}
	return r
}

// offer is the driver side's first half: add a burst and decide on a kick.
func (r *rig) offer() bool {
	for range r.burst {
		if _, err := r.p.Driver.Add(r.read, r.write); err != nil {
			return false
		}
	}
	r.p.Driver.Publish()
	r.p.Driver.NeedKick()
	return true
}

// serve is the device side: pop a burst, complete it and decide on an interrupt.
func (r *rig) serve() bool {
	q := r.p.Device
	q.ResetViews()
	n := min(q.Available(), r.burst)
	for i := range n {
		if !q.Pop(&r.chains[i]) {
			return false
		}
	}
	for i := range n {
		q.Push(r.chains[i].Head, r.chains[i].WriteLen)
	}
	q.Publish()
	q.NeedSignal()
	return n == r.burst
}

// take is the driver side's second half.
func (r *rig) take() bool {
	n := min(r.p.Driver.Completed(), r.burst)
	for i := range n {
		if !r.p.Driver.Take(&r.used[i]) {
			return false
		}
	}
	return n == r.burst
}

// A burst around a ring allocates nothing, on either side, whatever the shape.
func TestNoAllocations(t *testing.T) {
	bothFormats(t, testNoAllocations)
}

func testNoAllocations(t *testing.T, packed bool) {
	for _, s := range shapes {
		for _, eventIdx := range []bool{false, true} {
			r := newRig(t, s, vringtest.Config{Packed: packed, EventIdx: eventIdx})
			ok := true
			if n := testing.AllocsPerRun(2000, func() {
				r.p.Device.DisableKicks()
				r.p.Driver.DisableInterrupts()
				ok = ok && r.offer() && r.serve() && r.take()
				r.p.Device.EnableKicks()
				r.p.Driver.EnableInterrupts()
			}); n != 0 {
				t.Errorf("%s, event idx %v: %v allocations in a burst", s.name, eventIdx, n)
			}
			if !ok {
				t.Errorf("%s: faults %v, %v", s.name, r.p.Driver.Err(), r.p.Device.Err())
			}
		}
	}
}

// A fault allocates nothing either: a hostile driver cannot make garbage.
func TestFaultsDoNotAllocate(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4})
	var c vring.Chain
	p.Raw.SetChain(vring.Desc{Addr: nowhere, Len: 1})
	q := p.Device
	for i := range 2 {
		p.Raw.Offer(0)
		if n := testing.AllocsPerRun(100, func() {
			q.Available()
			q.Pop(&c)
			q.Publish()
		}); n != 0 {
			t.Errorf("%v allocations in call %d on a bad ring", n, i)
		}
	}
	if q.Err() != vring.FaultUnmapped {
		t.Errorf("fault is %v", q.Err())
	}
}
