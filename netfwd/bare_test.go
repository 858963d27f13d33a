package netfwd

import (
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A guest has its queue pairs enabled and buffers in the first alone, as one has that
// uses fewer than its monitor made, which keeps that to itself: no flow goes to the
// others, none waits there, and when one gets buffers it has its share.
func TestFlowsAvoidPairsWithoutBuffers(t *testing.T) {
	a, b := newMQVM(t, "a", 1), newMQVM(t, "b", 3)
	for _, v := range b.pairs[1:] {
		v.rx = vringtest.NewPair(t, vringtest.Config{Size: 128, EventIdx: true})
	}
	b.pairs[0].rx = vringtest.NewPair(t, vringtest.Config{Size: 256, EventIdx: true})
	offer := func(v *vm, n int) {
		for range n {
			addr, _ := v.rx.Alloc(256)
			if _, err := v.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 256)}); err != nil {
				t.Fatal(err)
			}
		}
		v.kickIf(v.rx.Driver)
	}
	a.pairs[0].tx = vringtest.NewPair(t, vringtest.Config{Size: 256, EventIdx: true})
	d := startBalancer(t, 1, 0, Link{a.end(), b.end()})
	a.use(1)
	b.use(3)
	offer(b.pairs[0], 200)
	const flows = 64
	send := func() {
		v := a.pairs[0]
		v.tx.Driver.Completed()
		for u := (vring.Used{}); v.tx.Driver.Take(&u); {
		}
		for i := range flows {
			f := flowFrame(t, false, false, false, false, i, i)
			addr, mem := v.tx.Alloc(virtionet.HeaderLen + len(f))
			copy(mem[virtionet.HeaderLen:], f)
			if _, err := v.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(mem))}, nil); err != nil {
				t.Fatal(err)
			}
		}
		v.kickIf(v.tx.Driver)
	}
	reach := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d, %d and %d frames arrived", what, b.pairs[0].rx.Driver.Completed(), b.pairs[1].rx.Driver.Completed(), b.pairs[2].rx.Driver.Completed())
			}
		}
	}
	active := func() bool { return b.pairs[0].State() == virtionet.StateActive }
	reach("the pair with buffers is in use", active)
	d.settled(t)
	send()
	reach("all arrive where there are buffers", func() bool { return b.pairs[0].rx.Driver.Completed() == flows })
	if n := b.used(); n != 1 {
		t.Errorf("%d pairs are said to take frames, of which one has ever had buffers", n)
	}

	offer(b.pairs[2], 100)
	reach("a pair that has got buffers is in use", func() bool { return b.used() == 2 })
	d.settled(t)
	send()
	reach("both get some", func() bool {
		first, third := b.pairs[0].rx.Driver.Completed()-flows, b.pairs[2].rx.Driver.Completed()
		return first+third == flows && first > 0 && third > 0
	})
	for _, v := range append(b.pairs, a.pairs...) {
		if s := d.Collect(); len(s.Ports) > 0 {
			for _, p := range s.Ports {
				if p.Name == v.Name() && len(p.Drops) > 0 {
					t.Errorf("%s dropped %v", p.Name, p.Drops)
				}
			}
		}
	}
}
