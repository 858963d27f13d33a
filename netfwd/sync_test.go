package netfwd

import (
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// syncEnd is a guest of a lane, whose rings the test changes.
type syncEnd struct {
	*virtionet.Guest
	t      *testing.T
	rx, tx *vringtest.Pair
}

func newSyncEnd(t *testing.T) *syncEnd {
	e := &syncEnd{t: t, rx: vringtest.NewPair(t, vringtest.Config{}), tx: vringtest.NewPair(t, vringtest.Config{})}
	e.Guest = virtionet.NewGuest("guest", func(ring string, err error) { t.Errorf("%s ring: %v", ring, err) })
	return e
}

// install hands over what e has, in a lane if it is in one already.
func (e *syncEnd) install(l *lane, change func(*virtionet.Queues)) {
	e.t.Helper()
	q := &virtionet.Queues{
		ToGuest: e.rx.Device, FromGuest: e.tx.Device, ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen,
	}
	change(q)
	done := make(chan struct{})
	go func() { e.Install(q); close(done) }()
	for !e.Changed() {
	}
	if l == nil {
		e.Sync()
	} else {
		l.step()
	}
	<-done
}

// send offers n frames.
func (e *syncEnd) send(n int) {
	e.t.Helper()
	for range n {
		addr, _ := e.tx.Alloc(virtionet.HeaderLen + 60)
		if _, err := e.tx.Driver.Add([]vring.Part{{Addr: uint64(addr), Len: virtionet.HeaderLen + 60}}, nil); err != nil {
			e.t.Fatal(err)
		}
	}
	e.tx.Driver.Publish()
}

// offer offers n receive buffers.
func (e *syncEnd) offer(n int) {
	e.t.Helper()
	for range n {
		addr, _ := e.rx.Alloc(256)
		if _, err := e.rx.Driver.Add(nil, []vring.Part{{Addr: uint64(addr), Len: 256}}); err != nil {
			e.t.Fatal(err)
		}
	}
	e.rx.Driver.Publish()
}

// Frames that wait for room survive every change but one of the ring that they came from,
// or of the one that they are for.
func TestFramesOnTheWayWhenAGuestChanges(t *testing.T) {
	unchanged := func(*virtionet.Queues) {}
	fresh := func(t *testing.T) *vringtest.Pair { return vringtest.NewPair(t, vringtest.Config{}) }
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, l *lane, from, to *syncEnd)
		want   int // frames that arrive
		lost   int
	}{
		{"nothing", func(*testing.T, *lane, *syncEnd, *syncEnd) {}, 3, 0},
		{"a call of the sender", func(_ *testing.T, l *lane, from, _ *syncEnd) { from.install(l, unchanged) }, 3, 0},
		{"a call of the receiver", func(_ *testing.T, l *lane, _, to *syncEnd) { to.install(l, unchanged) }, 3, 0},
		{"the sender's receive ring", func(t *testing.T, l *lane, from, _ *syncEnd) {
			from.install(l, func(q *virtionet.Queues) { q.ToGuest = nil })
			from.rx = fresh(t)
			from.install(l, unchanged)
		}, 3, 0},
		{"the receiver's transmit ring", func(t *testing.T, l *lane, _, to *syncEnd) {
			to.install(l, func(q *virtionet.Queues) { q.FromGuest = nil })
			to.tx = fresh(t)
			to.install(l, unchanged)
		}, 3, 0},
		{"the sender's transmit ring", func(t *testing.T, l *lane, from, _ *syncEnd) {
			from.install(l, func(q *virtionet.Queues) { q.FromGuest = nil })
			if n := from.tx.Driver.Completed(); n != 3 {
				t.Errorf("%d frames came back from a ring that was stopped, want 3", n)
			}
		}, 0, 3},
		{"the receiver's receive ring", func(t *testing.T, l *lane, _, to *syncEnd) {
			to.rx = fresh(t)
			to.install(l, unchanged)
		}, 0, 3},
		{"an announcement", func(t *testing.T, l *lane, from, _ *syncEnd) {
			a, err := virtionet.NewAnnouncement([6]byte{2})
			if err != nil {
				t.Fatal(err)
			}
			from.install(l, func(q *virtionet.Queues) { q.Announce = a })
		}, 1, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			from, to := newSyncEnd(t), newSyncEnd(t)
			from.install(nil, unchanged)
			to.install(nil, unchanged)
			l := newPair(from, to)
			from.send(3)
			for range 3 {
				l.step() // there is no room
			}
			tc.change(t, l, from, to)
			to.offer(8)
			for range 3 {
				l.step()
			}
			if got := to.rx.Driver.Completed(); got != tc.want {
				t.Errorf("%d frames arrived, want %d", got, tc.want)
			}
			if lost := from.Counters().Drops[virtionet.DropStopped]; int(lost) != tc.lost {
				t.Errorf("%d frames were dropped, want %d", lost, tc.lost)
			}
			from.offer(8) // and the other way works
			to.send(2)
			l.step()
			if got := from.rx.Driver.Completed(); got != 2 {
				t.Errorf("%d frames arrived the other way, want 2", got)
			}
		})
	}
}
