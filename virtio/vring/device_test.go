package vring_test

import (
	"errors"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// offer lets the driver side offer n readable buffers of one byte.
func offer(t *testing.T, p *vringtest.Pair, n int) []uint16 {
	t.Helper()
	addr, _ := p.Alloc(1)
	heads := make([]uint16, n)
	for i := range heads {
		head, err := p.Driver.Add([]vring.Part{vringtest.Part(addr, 1)}, nil)
		if err != nil {
			t.Fatalf("add buffer %d: %v", i, err)
		}
		heads[i] = head
	}
	if p.Driver.Publish() != (n > 0) {
		t.Fatalf("publish of %d buffers", n)
	}
	return heads
}

func TestDeviceEmptyRing(t *testing.T) { bothFormats(t, testDeviceEmptyRing) }

func testDeviceEmptyRing(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 4})
	q := p.Device
	var c vring.Chain
	if q.Available() != 0 || q.Pending() != 0 || q.Pop(&c) || q.Publish() || q.EnableKicks() || q.Err() != nil {
		t.Errorf("an empty ring is not empty: %v", q.Err())
	}
	if !packed && p.Raw.UsedIdx() != 0 {
		t.Error("publishing nothing changed used.idx")
	}
}

// Only Available looks at avail.idx: what comes after it waits for the next.
func TestAvailableIsTheOnlyLook(t *testing.T) { bothFormats(t, testAvailableIsTheOnlyLook) }

func testAvailableIsTheOnlyLook(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8})
	q := p.Device
	offer(t, p, 2)
	var c vring.Chain
	if q.Pop(&c) {
		t.Error("popped before Available")
	}
	if q.Available() != 2 || q.Pending() != 2 {
		t.Fatalf("%d pending", q.Pending())
	}
	offer(t, p, 3)
	for i := 2; i > 0; i-- {
		if q.Pending() != i || !q.Pop(&c) {
			t.Fatalf("pending %d, want %d", q.Pending(), i)
		}
	}
	if q.Pop(&c) || q.Pending() != 0 {
		t.Error("popped what Available has not seen")
	}
	if q.Available() != 3 || q.NextAvail() != place(packed, 2, 8) {
		t.Errorf("pending %d, next %d", q.Pending(), q.NextAvail())
	}
}

// Pops taken back come again, the same and in the same order.
func TestUnpop(t *testing.T) { bothFormats(t, testUnpop) }

func testUnpop(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, Start: 65533})
	q := p.Device
	heads := offer(t, p, 5)
	var c vring.Chain
	q.Available()
	for i := range 4 {
		if q.Pop(&c); packed {
			heads[i] = c.Head // a number of the device's own
		}
	}
	if q.Unpop(3); q.Pending() != 4 || q.NextAvail() != place(packed, 65534, 8) {
		t.Fatalf("pending %d, next %d", q.Pending(), q.NextAvail())
	}
	q.Unpop(0)
	for i, want := range heads[1:] {
		if !q.Pop(&c) || c.Head != want && !(packed && i == 3) {
			t.Fatalf("popped %d, want %d", c.Head, want)
		}
	}
	if q.Pop(&c) || q.NextAvail() != place(packed, 2, 8) {
		t.Errorf("next is %d", q.NextAvail())
	}
}

// Chains stay good until ResetViews, however many are popped, and their backing
// store is used again after it.
func TestResetViews(t *testing.T) { bothFormats(t, testResetViews) }

func testResetViews(t *testing.T, packed bool) {
	const n = 1024 // more than the store has at first
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: n})
	q := p.Device
	var first *[]byte
	for round := range 3 {
		addr, buf := p.Alloc(n)
		for i := range n {
			buf[i] = byte(i>>2 + round)
			if _, err := p.Driver.Add([]vring.Part{{Addr: uint64(addr) + uint64(i), Len: 1}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		chains := make([]vring.Chain, n)
		q.Available()
		for i := range chains {
			if !q.Pop(&chains[i]) {
				t.Fatal(q.Err())
			}
		}
		for i, c := range chains {
			if len(c.Read) != 1 || c.Read[0][0] != byte(i>>2+round) {
				t.Fatalf("round %d: chain %d changed while later ones were popped", round, i)
			}
			q.Push(c.Head, 0)
		}
		switch {
		case round == 1:
			first = &chains[0].Read[0]
		case round == 2 && first != &chains[0].Read[0]:
			t.Error("ResetViews does not reuse the backing store")
		}
		q.ResetViews()
		q.Publish()
		var u vring.Used
		for p.Driver.Completed(); p.Driver.Take(&u); {
		}
	}
}

// Push is private until Publish, which stores used.idx once for all of them.
func TestPublish(t *testing.T) { bothFormats(t, testPublish) }

func testPublish(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, Start: 65534})
	q := p.Device
	offer(t, p, 5)
	var c vring.Chain
	for q.Available(); q.Pop(&c); {
		q.Push(c.Head, 100+uint32(c.Head))
	}
	if n := p.Driver.Completed(); n != 0 {
		t.Fatalf("%d pushes are visible before Publish", n)
	}
	if !packed && p.Raw.UsedIdx() != 65534 {
		t.Fatalf("used.idx is %d before Publish", p.Raw.UsedIdx())
	}
	if !q.Publish() || !packed && p.Raw.UsedIdx() != 3 {
		t.Error("nothing, or not all, is published")
	}
	if q.Publish() {
		t.Error("published the same twice")
	}
	if p.Driver.Completed() != 5 {
		t.Errorf("driver sees %d", p.Driver.Completed())
	}
}

// A device side made anew goes on where the last one stopped: at the index it is
// told for avail, at what memory says for used.
func TestDeviceResumes(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8, Start: 65530})
	heads := offer(t, p, 5)
	q := p.Device
	var c vring.Chain
	q.Available()
	for range 2 {
		q.Pop(&c)
		q.Push(c.Head, 0)
	}
	q.Publish()
	cfg := p.DeviceConfig
	cfg.NextAvail = q.NextAvail()
	q, err := vring.NewDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if q.NextAvail() != 65532 || q.Pending() != 0 || q.Available() != 3 {
		t.Fatalf("next %d, pending %d", q.NextAvail(), q.Pending())
	}
	for i := 2; q.Pop(&c); i++ {
		if c.Head != heads[i] {
			t.Errorf("chain %d is %d, want %d", i, c.Head, heads[i])
		}
		q.Push(c.Head, 0)
	}
	q.Publish()
	var u vring.Used
	if got := p.Driver.Completed(); got != 5 || p.Raw.UsedIdx() != 65535 {
		t.Fatalf("driver sees %d, used.idx %d", got, p.Raw.UsedIdx())
	}
	for i := 0; p.Driver.Take(&u); i++ {
		if u.Head != heads[i] {
			t.Errorf("buffer %d is %d, want %d", i, u.Head, heads[i])
		}
	}
	if p.Driver.Free() != 8 || p.Driver.Err() != nil {
		t.Errorf("free %d, fault %v", p.Driver.Free(), p.Driver.Err())
	}
}

// A ring that its user stops keeps the first reason and does nothing more.
func TestFail(t *testing.T) {
	for _, fault := range []vring.Fault{vring.FaultHead, vring.FaultUnmapped} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 8})
		q := p.Device
		offer(t, p, 4)
		q.Available()
		var c vring.Chain
		q.Pop(&c)
		q.Push(c.Head, 0)
		q.Fail(fault)
		q.Fail(errors.New("a later reason"))
		if q.Err() != fault {
			t.Errorf("fault is %v, want %v", q.Err(), fault)
		}
		checkStopped(t, p, 0)
	}
}

// checkStopped checks that the device side of a ring with a fault does nothing
// that the driver could see, whatever is called; usedIdx is used.idx before.
func checkStopped(t *testing.T, p *vringtest.Pair, usedIdx uint16) {
	t.Helper()
	q := p.Device
	if q.Err() == nil {
		t.Error("the ring has no fault")
		return
	}
	flags, event := p.Raw.UsedFlags(), p.Raw.AvailEvent()
	fault := q.Err()
	var c vring.Chain
	for range 2 {
		if n := q.Available(); n != 0 {
			t.Errorf("%d chains are available after the fault", n)
		}
		if q.Pending() != 0 || q.Pop(&c) {
			t.Error("a chain is handed out after the fault")
		}
		q.Push(0, 1)
		if q.Publish() {
			t.Error("published after the fault")
		}
		q.DisableKicks()
		if q.NeedSignal() || q.EnableKicks() {
			t.Error("notifies after the fault")
		}
		p.Raw.Offer(0)
		q.ForgetSignals()
		q.ResetViews()
	}
	if p.Raw.UsedIdx() != usedIdx || p.Raw.UsedFlags() != flags || p.Raw.AvailEvent() != event {
		t.Errorf("used ring changed after the fault: idx %d flags %d event %d", p.Raw.UsedIdx(), p.Raw.UsedFlags(), p.Raw.AvailEvent())
	}
	if q.Err() != fault {
		t.Errorf("fault became %v, was %v", q.Err(), fault)
	}
}
