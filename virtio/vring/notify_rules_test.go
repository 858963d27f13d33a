package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// complete lets the device side complete n of the chains that wait, and publish.
func complete(t *testing.T, p *vringtest.Pair, n int) {
	t.Helper()
	var c vring.Chain
	p.Device.Available()
	for range n {
		if !p.Device.Pop(&c) {
			t.Fatalf("no chain; fault %v", p.Device.Err())
		}
		p.Device.Push(c.Head, 0)
	}
	p.Device.Publish()
}

// take lets the driver side take n buffers.
func take(t *testing.T, p *vringtest.Pair, n int) {
	t.Helper()
	var u vring.Used
	p.Driver.Completed()
	for range n {
		if !p.Driver.Take(&u) {
			t.Fatalf("nothing to take; fault %v", p.Driver.Err())
		}
	}
}

// Without EVENT_IDX the peer's flag decides, each time it is asked.
func TestFlagsDecide(t *testing.T) { bothFormats(t, testFlagsDecide) }

func testFlagsDecide(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8})
	if !packed {
		p.Raw.SetUsedEvent(1000) // means nothing
		p.Raw.SetAvailEvent(1000)
	}
	for range 2 {
		offer(t, p, 2)
		if !p.Driver.NeedKick() {
			t.Error("no kick, though the device wants them")
		}
		p.Device.DisableKicks()
		if p.Driver.NeedKick() {
			t.Error("kick, though the device does not want any")
		}
		if !p.Device.EnableKicks() {
			t.Error("two chains wait, but EnableKicks does not say so")
		}
		if !p.Driver.NeedKick() {
			t.Error("no kick, though the device wants them again")
		}
		complete(t, p, 2)
		if !p.Device.NeedSignal() {
			t.Error("no interrupt, though the driver wants them")
		}
		p.Driver.DisableInterrupts()
		if p.Device.NeedSignal() {
			t.Error("interrupt, though the driver does not want any")
		}
		if !p.Driver.EnableInterrupts() {
			t.Error("two buffers are done, but EnableInterrupts does not say so")
		}
		if !p.Device.NeedSignal() {
			t.Error("no interrupt, though the driver wants them again")
		}
		take(t, p, 2)
		if p.Driver.EnableInterrupts() || p.Device.EnableKicks() {
			t.Error("the ring is idle, but something is said to wait")
		}
	}
}

// With EVENT_IDX an armed side is told of the very next index and of no other,
// also across the wrap of the indices.
func TestEventsDecide(t *testing.T) { bothFormats(t, testEventsDecide) }

func testEventsDecide(t *testing.T, packed bool) {
	for _, start := range []uint16{0, 32766, 65533} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: true, Start: start})
		for round := range 4 {
			offer(t, p, 1)
			if !p.Driver.NeedKick() {
				t.Errorf("start %d, round %d: the armed device is not kicked", start, round)
			}
			p.Device.DisableKicks()
			offer(t, p, 2)
			if p.Driver.NeedKick() {
				t.Errorf("start %d, round %d: kicked twice", start, round)
			}
			complete(t, p, 1)
			if !p.Device.NeedSignal() {
				t.Errorf("start %d, round %d: the armed driver is not interrupted", start, round)
			}
			p.Driver.DisableInterrupts()
			complete(t, p, 2)
			if p.Device.NeedSignal() {
				t.Errorf("start %d, round %d: interrupted twice", start, round)
			}
			take(t, p, 3)
			if p.Driver.EnableInterrupts() || p.Device.EnableKicks() {
				t.Errorf("start %d, round %d: the ring is idle, but something is said to wait", start, round)
			}
		}
	}
}

// A wish that nothing came for is withdrawn: who looks for himself again, woken up by a timer for one, is
// not told of what he sees anyway.
func TestWishesAreWithdrawn(t *testing.T) { bothFormats(t, testWishesAreWithdrawn) }

func testWishesAreWithdrawn(t *testing.T, packed bool) {
	for _, eventIdx := range []bool{false, true} {
		for _, start := range []uint16{0, 1, 32766, 65533} {
			p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: eventIdx, Start: start})
			for round := range 4 {
				if p.Device.EnableKicks() || p.Driver.EnableInterrupts() {
					t.Fatalf("EVENT_IDX %v, start %d, round %d: the ring is idle, but something is said to wait", eventIdx, start, round)
				}
				p.Device.DisableKicks()
				p.Driver.DisableInterrupts()
				offer(t, p, 2)
				if p.Driver.NeedKick() {
					t.Errorf("EVENT_IDX %v, start %d, round %d: a device that polls again is kicked", eventIdx, start, round)
				}
				complete(t, p, 2)
				// The first decision ever is an interrupt, whoever wants one: what was asked for before is not known.
				if p.Device.NeedSignal() && (round > 0 || !eventIdx || packed) {
					t.Errorf("EVENT_IDX %v, start %d, round %d: a driver that polls again is interrupted", eventIdx, start, round)
				}
				take(t, p, 2)
			}
		}
	}
}

// What came in before notifications were armed is reported by the arming, since
// no one is going to be told of it.
func TestArmingLooksAgain(t *testing.T) { bothFormats(t, testArmingLooksAgain) }

func testArmingLooksAgain(t *testing.T, packed bool) {
	for _, eventIdx := range []bool{false, true} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: eventIdx, Start: 65535})
		p.Device.DisableKicks()
		p.Driver.DisableInterrupts()
		offer(t, p, 1)
		p.Driver.NeedKick()
		if !p.Device.EnableKicks() || p.Device.Pending() != 1 {
			t.Errorf("event idx %v: EnableKicks overlooked a chain", eventIdx)
		}
		complete(t, p, 1)
		if !p.Driver.EnableInterrupts() {
			t.Errorf("event idx %v: EnableInterrupts overlooked a buffer", eventIdx)
		}
		take(t, p, 1)
	}
}

// A device side that waits for more chains than are pending is kicked for the
// next one, though it has not popped those that are there: the driver's index
// is past them, so an event there would never be crossed.
func TestArmingBeyondPendingChains(t *testing.T) { bothFormats(t, testArmingBeyondPendingChains) }

func testArmingBeyondPendingChains(t *testing.T, packed bool) {
	for _, eventIdx := range []bool{false, true} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: eventIdx, Start: 65534})
		offer(t, p, 3)
		p.Driver.NeedKick()
		var c vring.Chain
		p.Device.Available()
		p.Device.Pop(&c)
		p.Device.Pop(&c)
		p.Device.Unpop(2) // too small for what is to be written
		before := p.Device.Pending()
		if !p.Device.EnableKicks() || p.Device.Pending() != before {
			t.Fatalf("event idx %v: %d pending, want %d", eventIdx, p.Device.Pending(), before)
		}
		offer(t, p, 1)
		if !p.Driver.NeedKick() {
			t.Errorf("event idx %v: no kick for the chain that was waited for", eventIdx)
		}
	}
}

// The first decision of a device side is to interrupt: what an earlier one
// signalled is not known. So is the first after ForgetSignals, and only it.
func TestForgetSignals(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8, EventIdx: true})
	p.Raw.SetUsedEvent(0x4000) // far from anything that happens here
	if !p.Device.NeedSignal() {
		t.Error("the first decision is not to interrupt")
	}
	offer(t, p, 4)
	complete(t, p, 1)
	if p.Device.NeedSignal() {
		t.Error("interrupt, though used_event is far away")
	}
	p.Device.ForgetSignals()
	complete(t, p, 1)
	if !p.Device.NeedSignal() {
		t.Error("no interrupt after ForgetSignals")
	}
	complete(t, p, 1)
	if p.Device.NeedSignal() {
		t.Error("ForgetSignals lasts longer than one decision")
	}
	// A device side made anew has the same doubt.
	q, err := vring.NewDevice(p.DeviceConfig)
	if err != nil {
		t.Fatal(err)
	}
	if !q.NeedSignal() || q.NeedSignal() {
		t.Error("a device side made anew does not interrupt once")
	}
}

// Several Publish between two decisions count together.
func TestDecisionCoversAllPublished(t *testing.T) { bothFormats(t, testDecisionCoversAllPublished) }

func testDecisionCoversAllPublished(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, EventIdx: true, Start: 65530})
	p.Device.NeedSignal()
	offer(t, p, 1)
	offer(t, p, 1)
	offer(t, p, 1)
	if !p.Driver.NeedKick() {
		t.Error("three bursts passed avail_event, but no kick")
	}
	complete(t, p, 1)
	complete(t, p, 1)
	complete(t, p, 1)
	if !p.Device.NeedSignal() {
		t.Error("three bursts passed used_event, but no interrupt")
	}
}

// Laps of the index space in real traffic, used_event at every distance from
// before the burst to behind it: an interrupt exactly for the bursts that hold it.
func TestUsedEventsInTraffic(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8, EventIdx: true})
	p.Device.NeedSignal()
	addr, _ := p.Alloc(1)
	part := []vring.Part{vringtest.Part(addr, 1)}
	var c vring.Chain
	var u vring.Used
	idx, signals := uint16(0), 0
	for i := range 2 * 65536 / 4 {
		burst := uint16(1 + i%8)
		event := idx + uint16(i%17) - 4 // 17 and 8 have no common factor: all pairs come
		p.Raw.SetUsedEvent(event)
		for range burst {
			if _, err := p.Driver.Add(part, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		for p.Device.Available(); p.Device.Pop(&c); {
			p.Device.Push(c.Head, 0)
		}
		p.Device.ResetViews()
		p.Device.Publish()
		want := event-idx < burst
		if got := p.Device.NeedSignal(); got != want {
			t.Fatalf("used_event %d, used.idx %d to %d: %v, want %v", event, idx, idx+burst, got, want)
		}
		if want {
			signals++
		}
		idx += burst
		for p.Driver.Completed(); p.Driver.Take(&u); {
		}
	}
	if signals == 0 {
		t.Error("no burst held its event")
	}
}
