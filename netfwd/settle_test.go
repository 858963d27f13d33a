package netfwd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"
	"unsafe"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// numbered makes frame i of a flow.
func numbered(i, flow int) []byte {
	f := make([]byte, 64)
	f[5], f[11] = 2, byte(flow)
	binary.LittleEndian.PutUint32(f[40:], uint32(i))
	return f
}

// sendNumbered offers frames first to end-1 of as many flows.
func (e *syncEnd) sendNumbered(first, end, flows int) {
	e.t.Helper()
	for i := first; i < end; i++ {
		addr, b := e.tx.Alloc(virtionet.HeaderLen + 64)
		copy(b[virtionet.HeaderLen:], numbered(i, i%flows))
		if _, err := e.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(b))}, nil); err != nil {
			e.t.Fatal(err)
		}
	}
	e.tx.Driver.Publish()
}

// offerBuffers offers n receive buffers, which arrived reads.
func (e *syncEnd) offerBuffers(n int) {
	e.t.Helper()
	for range n {
		addr, b := e.rx.Alloc(256)
		head, err := e.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 256)})
		if err != nil {
			e.t.Fatal(err)
		}
		e.buffers[head] = b
	}
	e.rx.Driver.Publish()
}

// arrived takes the numbers of the frames that came.
func (e *syncEnd) arrived() (got []int) {
	e.rx.Driver.Completed()
	for u := (vring.Used{}); e.rx.Driver.Take(&u); {
		got = append(got, int(binary.LittleEndian.Uint32(e.buffers[u.Head][virtionet.HeaderLen+40:])))
	}
	return got
}

// restart stops a ring and starts it where it stood, as GET_VRING_BASE and a new start do.
func (e *syncEnd) restart(pair *vringtest.Pair) {
	e.t.Helper()
	cfg := pair.DeviceConfig
	cfg.NextAvail = uint16(pair.Device.Position())
	if up := pair.Device.Position() >> 16; cfg.Packed && up != uint32(cfg.NextAvail) {
		e.t.Errorf("a ring that stopped has buffers in flight: %#x", pair.Device.Position())
	}
	if !cfg.Packed && pair.Raw.UsedIdx() != cfg.NextAvail {
		e.t.Errorf("a ring stopped at %d, and %d buffers were given back", cfg.NextAvail, pair.Raw.UsedIdx())
	}
	var err error
	if pair.Device, err = vring.NewDevice(cfg); err != nil {
		e.t.Fatal(err)
	}
}

// Whatever happens to a guest's rings between two bursts, all frames arrive, once and in
// their order, as long as the guest stays.
func TestNothingIsLostWhenAGuestChanges(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	unchanged := func(*guest.Queues) {}
	for _, tc := range []struct {
		name   string
		change func(l *lane, from, to *syncEnd)
	}{
		{"nothing", func(*lane, *syncEnd, *syncEnd) {}},
		{"a call of the sender", func(l *lane, from, _ *syncEnd) { from.install(l, unchanged) }},
		{"a call of the receiver", func(l *lane, _, to *syncEnd) { to.install(l, unchanged) }},
		{"the sender's rings stop and start", func(l *lane, from, _ *syncEnd) {
			from.install(l, func(q *guest.Queues) { q.FromGuest, q.ToGuest = nil, nil })
			from.restart(from.tx)
			from.restart(from.rx)
			from.install(l, unchanged)
		}},
		{"the receiver's rings stop and start", func(l *lane, _, to *syncEnd) {
			to.install(l, func(q *guest.Queues) { q.FromGuest, q.ToGuest, q.ToGuestAwaited = nil, nil, soon })
			l.step()
			to.restart(to.tx)
			to.restart(to.rx)
			to.install(l, unchanged)
		}},
		{"the sender pauses", func(l *lane, from, _ *syncEnd) {
			from.pause(l)
			from.restart(from.tx)
			from.install(l, unchanged)
		}},
		{"the receiver pauses", func(l *lane, _, to *syncEnd) {
			to.pause(l)
			l.step()
			if to.State() != virtionet.StateActive {
				t.Error("a pause changes the state")
			}
			to.restart(to.rx)
			to.install(l, unchanged)
		}},
		{"the sender's memory moves", func(l *lane, from, _ *syncEnd) { from.move(l) }},
		{"the receiver's memory moves", func(l *lane, _, to *syncEnd) { to.move(l) }},
		{"the sender's transmit ring is disabled", func(l *lane, from, _ *syncEnd) {
			from.install(l, func(q *guest.Queues) { q.FromGuestEnabled, q.FromGuestAwaited = false, soon })
			l.step()
			if frames, _ := from.EnableKicks(false); frames {
				t.Error("a loop does not sleep while frames wait in a ring that is disabled")
			}
			from.install(l, unchanged)
		}},
		{"the receiver's receive ring is disabled", func(l *lane, _, to *syncEnd) {
			to.install(l, func(q *guest.Queues) { q.ToGuestEnabled, q.ToGuestAwaited = false, soon })
			l.step()
			to.install(l, unchanged)
		}},
		{"an announcement of the sender", func(l *lane, from, _ *syncEnd) {
			a, err := guest.NewAnnouncement([6]byte{2})
			if err != nil {
				t.Fatal(err)
			}
			from.install(l, func(q *guest.Queues) { q.Announce = a })
		}},
	} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, packed %v", tc.name, packed), func(t *testing.T) {
				cfg := vringtest.Config{Packed: packed, Size: 128}
				from, to := newSyncEndWith(t, cfg), newSyncEndWith(t, cfg)
				from.install(nil, unchanged)
				to.install(nil, unchanged)
				l := newPair(from, to)
				const n = 100
				from.sendNumbered(0, n, 1)
				to.offerBuffers(8)
				for range 3 {
					l.step()
				}
				got := to.arrived()
				tc.change(l, from, to)
				for range 30 {
					to.offerBuffers(min(8, to.rx.Driver.Free()))
					l.step()
					got = append(got, to.arrived()...)
				}
				want := make([]int, n)
				for i := range want {
					want[i] = i
				}
				if got = slices.DeleteFunc(got, func(i int) bool { return i == 0 && len(got) > n }); !slices.Equal(got, want) && !slices.Equal(got, want[1:]) {
					t.Errorf("%d frames arrived of %d: %v", len(got), n, got)
				}
				if c := from.tx.Driver.Completed(); c != n {
					t.Errorf("%d of %d buffers came back", c, n)
				}
				for _, e := range []*syncEnd{from, to} {
					if e.Counters().Dropped() != 0 {
						t.Errorf("dropped: %v", e.Counters().Drops)
					}
				}
				if c := from.Counters(); c.RxPackets < n || c.RxPackets > n+1 { // an announcement
					t.Errorf("counted %d frames received, of %d", c.RxPackets, n)
				}
			})
		}
	}
}

// No one waits for ever for a guest that does not come back, nor for one that is gone.
func TestFramesForNoOne(t *testing.T) {
	for name, away := range map[string]func(*guest.Queues){
		"stopped":           func(q *guest.Queues) { q.ToGuest = nil },
		"awaited in vain":   func(q *guest.Queues) { q.ToGuest, q.ToGuestAwaited = nil, time.Now() },
		"disabled":          func(q *guest.Queues) { q.ToGuestEnabled = false },
		"disabled too long": func(q *guest.Queues) { q.ToGuestEnabled, q.ToGuestAwaited = false, time.Now() },
		"never had a buffer": func(q *guest.Queues) {
			q.ToGuest, q.ToGuestAwaited = vringtest.NewPair(t, vringtest.Config{}).Device, time.Now()
		},
	} {
		from, to := newSyncEnd(t), newSyncEnd(t)
		from.install(nil, func(*guest.Queues) {})
		to.install(nil, func(*guest.Queues) {})
		l := newPair(from, to)
		from.sendNumbered(0, 10, 1)
		l.step()
		to.install(l, away)
		l.step()
		l.step()
		if c := from.tx.Driver.Completed(); c != 10 || to.Counters().Drops[virtionet.DropNoPeer] != 10 {
			t.Errorf("%s: %d frames came back, dropped %v", name, c, to.Counters().Drops)
		}
	}
	from, to := newSyncEnd(t), newSyncEnd(t)
	from.install(nil, func(*guest.Queues) {})
	to.install(nil, func(*guest.Queues) {})
	l := newPair(from, to)
	from.sendNumbered(0, 10, 1)
	l.step()
	to.hand(l, func() { to.Install(nil) })
	l.step()
	// In our hands or still in the ring, they are not for the next one.
	stopped, noPeer := from.Counters().Drops[virtionet.DropStopped], to.Counters().Drops[virtionet.DropNoPeer]
	if c := from.tx.Driver.Completed(); c != 10 || stopped+noPeer != 10 {
		t.Errorf("gone: %d frames came back, dropped %v, %v", c, from.Counters().Drops, to.Counters().Drops)
	}
}

// What is sent through a transmit ring that stays disabled is discarded in the end.
func TestDisabledTooLong(t *testing.T) {
	from, to := newSyncEnd(t), newSyncEnd(t)
	from.install(nil, func(q *guest.Queues) { q.FromGuestEnabled, q.FromGuestAwaited = false, time.Now() })
	to.install(nil, func(*guest.Queues) {})
	l := newPair(from, to)
	from.sendNumbered(0, 10, 1)
	l.step()
	if c := from.tx.Driver.Completed(); c != 10 || from.Counters().Drops[virtionet.DropNoPeer] != 10 {
		t.Errorf("%d frames came back, dropped %v", c, from.Counters().Drops)
	}
}

// newSteeredLane is a lane that carries what comes from one port to several.
func newSteeredLane(from Port, to ...Port) (*direction, *lane) {
	s := &steering{}
	for _, p := range to {
		s.queues = append(s.queues, newMember(p))
	}
	d, l := newDirection(newMember(from)), &lane{}
	d.dst, d.steer = s.queues[0], newSteered(s)
	l.add(d, 0)
	return d, l
}

func asPorts(fakes []*fakePort) (ports []Port) {
	for _, p := range fakes {
		ports = append(ports, p)
	}
	return ports
}

// A ring stops while frames of a burst, sorted for several queue pairs, are sent and
// others are not: the ring's place says nothing wrong of any.
func TestSortedBurstWhenItsRingStops(t *testing.T) {
	for way := range 4 {
		packed, again := way&1 != 0, way&2 != 0
		for _, blocked := range []int{0, 1, 2} {
			const flows, n = 12, 60
			from := newSyncEndWith(t, vringtest.Config{Packed: packed, Size: 128})
			from.install(nil, func(*guest.Queues) {})
			var ports []*fakePort
			for i := range 3 {
				ports = append(ports, &fakePort{name: string(rune('a' + i)), room: -1})
			}
			ports[blocked].room = 3
			d, l := newSteeredLane(from, asPorts(ports)...)
			from.sendNumbered(0, n, flows)
			l.step()
			if d.sent == 0 || d.released != 0 || !d.blocked() {
				t.Fatalf("%d frames are sent of a burst of %d, %d released", d.sent, d.out.Len(), d.released)
			}
			if again { // for the same queue pairs in another lane
				d.steer, d.stale = newSteered(d.steer.steering), true
				l.step()
			}
			from.install(l, func(q *guest.Queues) { q.FromGuest = nil })
			from.restart(from.tx)
			from.install(l, func(*guest.Queues) {})
			ports[blocked].room = -1
			for range 5 {
				l.step()
			}
			seen := map[int]int{}
			for _, p := range ports {
				last := map[byte]int{}
				for _, b := range p.out {
					number := int(binary.LittleEndian.Uint32(b[40:]))
					if seen[number]++; number < last[b[11]] {
						t.Errorf("packed %v, %s: frame %d is after %d", packed, p.name, number, last[b[11]])
					}
					last[b[11]] = number
				}
			}
			for i := range n {
				if seen[i] != 1 {
					t.Errorf("packed %v, no room at %d: frame %d arrived %d times", packed, blocked, i, seen[i])
				}
			}
			if c := from.tx.Driver.Completed(); c != n {
				t.Errorf("%d of %d buffers came back", c, n)
			}
		}
	}
}

// A burst that was sorted for several queue pairs, of which nothing is sent yet, has only
// one to go to in the end. No buffer goes back before its frame is sent.
func TestSortedBurstForOneQueuePair(t *testing.T) {
	from := newSyncEndWith(t, vringtest.Config{Size: 128})
	from.install(nil, func(*guest.Queues) {})
	a, b := &fakePort{name: "a"}, &fakePort{name: "b"}
	d, l := newSteeredLane(from, a, b)
	from.sendNumbered(0, 60, 12)
	if l.step(); d.sent != 0 || d.out.Len() != 60 || !d.sorted() {
		t.Fatalf("%d of %d frames are sent, sorted %v", d.sent, d.out.Len(), d.sorted())
	}
	d.dst, d.steer, d.stale = newMember(b), nil, true
	b.room = 10
	l.step()
	if n := from.tx.Driver.Completed(); n != 0 || len(b.out) != 10 {
		t.Errorf("%d buffers came back when %d frames were sent of a burst that was sorted", n, len(b.out))
	}
	for i, f := range b.out {
		if number := int(binary.LittleEndian.Uint32(f[40:])); number != i {
			t.Errorf("frame %d came as number %d", number, i)
		}
	}
	b.room = -1
	l.step()
	if n := from.tx.Driver.Completed(); n != 60 || len(b.out) != 60 {
		t.Errorf("%d buffers came back, %d frames were sent", n, len(b.out))
	}
}

// What a guest that is gone has sent is no one's, also what was copied of it.
func TestNothingComesFromTheDead(t *testing.T) {
	from := newSyncEndWith(t, vringtest.Config{Size: 128})
	from.install(nil, func(*guest.Queues) {})
	ports := []*fakePort{{name: "a", room: 3}, {name: "b", room: -1}}
	ports[0].room, ports[1].room = -1, 1
	d, l := newSteeredLane(from, asPorts(ports)...)
	from.sendNumbered(0, 60, 12)
	l.step()
	from.install(l, func(q *guest.Queues) { q.FromGuest = nil })
	if !d.blocked() {
		t.Fatal("nothing was copied")
	}
	from.hand(l, func() { from.Install(nil) })
	ports[1].room = -1
	arrived := len(ports[0].out) + len(ports[1].out)
	for range 3 {
		l.step()
	}
	if n := len(ports[0].out) + len(ports[1].out); n != arrived || d.blocked() || from.Counters().Drops[virtionet.DropStopped] == 0 {
		t.Errorf("%d frames arrived, %d after the guest was gone; dropped %v", arrived, n-arrived, from.Counters().Drops)
	}
}

// What is taken from a guest is sent or counted as dropped: copies, when a fault somewhere ends them or no one
// forwards any more, and what could only be copied at the end of everything.
func TestNothingIsLostUncounted(t *testing.T) {
	gone := mapped(t, 4096)
	begin := uintptr(unsafe.Pointer(&gone[0]))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	fault := guarded(func() { gone[7] = 1 })
	for _, general := range []bool{false, true} {
		for _, copied := range []bool{false, true} {
			for name, end := range map[string]func(l *lane){
				"a receiver's fault": func(l *lane) { l.contain(fault) },
				"a fault of no one":  func(l *lane) { l.contain(errors.New("a bug")) },
				"the end":            func(l *lane) { l.leave() },
			} {
				if !copied && (name == "a fault of no one" || general && name == "a receiver's fault") {
					continue // what was sent of a sorted burst its port does not know when it fails, or drops what it holds
				}
				from := newSyncEndWith(t, vringtest.Config{Size: 128})
				from.Port = guest.New("guest", func(string, error) {})
				from.install(nil, func(q *guest.Queues) {
					if general {
						q.FromGuestLog = loggingOf(t, from.tx)
					}
				})
				ports := []*fakePort{{name: "a", room: -1}, {name: "b", room: 1}}
				ports[1].owns = func(a uintptr) bool { return a >= begin && a < begin+4096 }
				d, l := newSteeredLane(from, asPorts(ports)...)
				for _, q := range d.steer.queues {
					l.addIdle(newDirection(q))
				}
				from.sendNumbered(0, 60, 12)
				l.step()
				if copied {
					from.install(l, func(q *guest.Queues) { q.FromGuest = nil })
				}
				if !d.blocked() || d.copied != copied {
					t.Fatalf("blocked %v, copied %v", d.blocked(), d.copied)
				}
				end(l)
				sent, c := uint64(len(ports[0].out)+len(ports[1].out)), from.Counters()
				if back := from.tx.Driver.Completed(); c.RxPackets != uint64(back) || c.RxPackets != sent+c.Dropped() || c.RxPackets == sent {
					t.Errorf("general %v, copied %v, %s: %d buffers came back, %d frames counted, %d sent, drops %v",
						general, copied, name, back, c.RxPackets, sent, c.Drops)
				}
			}
		}
	}
}

// A frame that is cut on its way is not sent twice in part when its ring stops.
func TestCutFrameWhenItsRingStops(t *testing.T) {
	from, to := newSyncEnd(t), newSyncEnd(t)
	offloads := func(q *guest.Queues) {
		q.Sends = virtionet.OffloadCsum | virtionet.OffloadTSO4
	}
	from.install(nil, offloads)
	to.install(nil, func(q *guest.Queues) {})
	l := newPair(from, to)
	const size, pieces = 500, 8
	shapes := packettest.Shapes(t, size*pieces)
	shape := &shapes[slices.IndexFunc(shapes, func(s packettest.Shape) bool { return s.Layout.Protocol == packet.TCP && !s.Layout.IPv6 })]
	frame := shape.Unfinished()
	addr, b := from.tx.Alloc(virtionet.HeaderLen + len(frame))
	b[0], b[1] = 1, 1 // NEEDS_CSUM, TCP over IPv4
	binary.LittleEndian.PutUint16(b[4:], size)
	binary.LittleEndian.PutUint16(b[6:], shape.Layout.L4)
	binary.LittleEndian.PutUint16(b[8:], shape.Layout.ChecksumOffset())
	copy(b[virtionet.HeaderLen:], frame)
	if _, err := from.tx.Driver.Add([]vring.Part{vringtest.Part(addr, len(b))}, nil); err != nil {
		t.Fatal(err)
	}
	from.tx.Driver.Publish()
	big := func(n int) {
		for range n {
			addr, _ := to.rx.Alloc(2048)
			if _, err := to.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 2048)}); err != nil {
				t.Fatal(err)
			}
		}
		to.rx.Driver.Publish()
	}
	big(3)
	l.step()
	if n := to.rx.Driver.Completed(); n != 3 {
		t.Fatalf("%d pieces arrived, want as many as there is room for", n)
	}
	from.install(l, func(q *guest.Queues) { q.FromGuest = nil })
	from.restart(from.tx)
	from.install(l, offloads)
	big(20)
	for range 3 {
		l.step()
	}
	if n := to.rx.Driver.Completed(); n != pieces {
		t.Errorf("%d pieces arrived, want %d", n, pieces)
	}
}
