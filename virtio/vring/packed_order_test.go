package vring_test

import (
	"bytes"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Chains of a packed ring are completed in any order: the driver uses the slots of the
// first again while the chain that was offered there is still in the device's hands.
func TestPackedChainsGoBackInAnyOrder(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
	at, b := p.Alloc(64)
	offer := func(first byte, parts int) uint16 {
		t.Helper()
		read := make([]vring.Part, parts)
		for i := range read {
			b[int(first)+i] = first + byte(i)
			read[i] = vringtest.Part(at+mem.GPA(int(first)+i), 1)
		}
		head, err := p.Driver.Add(read, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Driver.Publish()
		return head
	}
	pop := func(want ...byte) uint16 {
		t.Helper()
		var c vring.Chain
		if p.Device.Available(); !p.Device.Pop(&c) || !bytes.Equal(vringtest.Join(c.Read), want) {
			t.Fatalf("popped %x, want %x, fault %v", vringtest.Join(c.Read), want, p.Device.Err())
		}
		return c.Head
	}
	complete := func(heads ...uint16) {
		for _, head := range heads {
			p.Device.Push(head, 0)
		}
		p.Device.Publish()
	}
	take := func(want uint16) {
		t.Helper()
		var u vring.Used
		if p.Driver.Completed(); !p.Driver.Take(&u) || u.Head != want {
			t.Fatalf("took %d, want %d, fault %v", u.Head, want, p.Driver.Err())
		}
	}
	long, short := offer(1, 3), offer(10, 1)
	first := pop(1, 2, 3)
	for round := range 20 { // of the short one, in one slot after the other
		second := pop(10)
		complete(second)
		take(short)
		if p.Device.Available() != 0 {
			t.Fatalf("round %d: a chain that no one offered", round)
		}
		short = offer(10, 1)
	}
	second := pop(10)
	complete(second, first)
	take(short)
	take(long)
	if p.Driver.Outstanding() != 0 || p.Driver.Free() != 4 {
		t.Errorf("%d outstanding, %d free", p.Driver.Outstanding(), p.Driver.Free())
	}
}
