package vring_test

import (
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// trackedRing is a ring with the memory in which it is tracked, for back-ends that are killed.
type trackedRing struct {
	*vringtest.Pair
	t      *testing.T
	memory []byte
	token  uint64
}

func newTrackedRing(t *testing.T, packed bool, token uint64) *trackedRing {
	const size = 8
	r := &trackedRing{
		Pair: vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: size}), t: t,
		memory: vringtest.Memory(vring.TrackBytes(size, packed)), token: token,
	}
	r.next()
	return r
}

// next makes the device side that the next back-end has.
func (r *trackedRing) next() {
	r.t.Helper()
	cfg := r.DeviceConfig
	cfg.Track, cfg.Resumed = vring.NewTracker(r.memory, cfg.Size, cfg.Packed, r.token)
	if cfg.Packed && cfg.Resumed {
		at, ok := cfg.Track.PackedBase(r.Raw.Table)
		if !ok {
			r.t.Fatal("no one can say where the ring is")
		}
		cfg.NextAvail = at
	} else if !cfg.Packed {
		cfg.NextAvail = r.Raw.UsedIdx()
	}
	device, err := vring.NewDevice(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Device = device
}

// take offers n buffers and has the device take them.
func (r *trackedRing) take(n int) (heads []uint16) {
	r.t.Helper()
	for range n {
		addr, _ := r.Alloc(16)
		if _, err := r.Driver.Add([]vring.Part{vringtest.Part(addr, 16)}, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	r.Driver.Publish()
	if heads = popAll(r); len(heads) != n {
		r.t.Fatalf("%d chains of %d, fault %v", len(heads), n, r.Device.Err())
	}
	return heads
}

func (r *trackedRing) complete(heads ...uint16) {
	for _, h := range heads {
		r.Device.Push(h, 0)
	}
	r.Device.Publish()
	r.Driver.Completed()
	for u := (vring.Used{}); r.Driver.Take(&u); {
	}
}

// What a back-end was about to do when it was killed the next one is told, as long as the
// chains that it was about are not completed, and no longer.
func TestIntentOutlivesItsBackEnd(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		from, to := newTrackedRing(t, packed, 11), newTrackedRing(t, packed, 22)
		if _, resumed := from.Device.Resumed(); resumed || !from.Device.Tracked() || from.Device.Token() != 11 {
			t.Fatal("a ring that no one had is resumed, or not tracked, or has another name")
		}
		to.complete(to.take(3)...) // so that it is somewhere
		for lap := range 5 {
			from.take(3)
			to.take(2)
			before := to.Device.Stand()
			from.Device.Intend(2, to.Device)
			want := vring.Intent{Peer: 22, Before: before, Count: 2}

			from.next() // killed before it published them
			to.next()
			if got, resumed := from.Device.Resumed(); !resumed || got != want {
				t.Fatalf("lap %d: resumed %v with %+v, want %+v", lap, resumed, got, want)
			}
			if to.Device.Began() != before {
				t.Fatalf("lap %d: the peer seems to have got them: it is at %#x, was at %#x", lap, to.Device.Began(), before)
			}
			if got, _ := to.Device.Resumed(); got != (vring.Intent{}) {
				t.Fatalf("lap %d: the peer intended %+v", lap, got)
			}

			popAll(from)
			room := popAll(to)
			from.Device.Intend(2, to.Device)
			to.complete(room...)
			from.next() // killed after it published them
			to.next()
			if got, _ := from.Device.Resumed(); got != want || to.Device.Began() == want.Before {
				t.Fatalf("lap %d: %+v, the peer at %#x", lap, got, to.Device.Began())
			}

			heads := popAll(from)
			from.Device.Intend(2, to.Device)
			from.complete(heads[:2]...)
			from.next() // killed after it completed them
			if got, resumed := from.Device.Resumed(); !resumed || got != (vring.Intent{}) {
				t.Fatalf("lap %d: what is done is intended still: %+v", lap, got)
			}
			from.complete(popAll(from)...)
		}
	})
}

// An intent is void a lap later, when the ring is at the same place again, although no other was
// noted meanwhile.
func TestIntentIsOfOneLap(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		from, to := newTrackedRing(t, packed, 1), newTrackedRing(t, packed, 2)
		heads := from.take(1)
		from.Device.Intend(1, to.Device)
		from.complete(heads...)
		for range 2*8 - 1 { // both laps of a packed ring
			from.complete(from.take(1)...)
		}
		from.next()
		if got, _ := from.Device.Resumed(); got != (vring.Intent{}) {
			t.Errorf("an intent of laps ago: %+v", got)
		}
	})
}

// A ring that is tracked no more leaves the record alone.
func TestUntracked(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		r := newTrackedRing(t, packed, 1)
		heads := r.take(2)
		r.Device.Untrack()
		if r.Device.Tracked() || inFlight(r.memory, 8, packed) != 2 {
			t.Fatal("it is tracked, or the record has changed")
		}
		clear(r.memory) // as if it were gone
		r.complete(heads...)
		r.complete(r.take(1)...)
		for i, b := range r.memory {
			if b != 0 {
				t.Fatalf("byte %d of the record is written to", i)
			}
		}
		if r.Driver.Outstanding() != 0 {
			t.Errorf("%d buffers did not come back", r.Driver.Outstanding())
		}
	})
}

// popAll takes what waits.
func popAll(r *trackedRing) (heads []uint16) {
	r.Device.Available()
	r.Device.ResetViews()
	for c := (vring.Chain{}); r.Device.Pop(&c); {
		heads = append(heads, c.Head)
	}
	return heads
}
