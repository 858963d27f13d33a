package netfwd

import (
	"testing"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// syncEnd is a guest of a lane, whose rings the test changes.
type syncEnd struct {
	*guest.Port
	t       *testing.T
	rx, tx  *vringtest.Pair
	buffers map[uint16][]byte // of rx, by head
}

func newSyncEnd(t *testing.T) *syncEnd { return newSyncEndWith(t, vringtest.Config{}) }

func newSyncEndWith(t *testing.T, cfg vringtest.Config) *syncEnd {
	e := &syncEnd{t: t, rx: vringtest.NewPair(t, cfg), tx: vringtest.NewPair(t, cfg), buffers: map[uint16][]byte{}}
	use(t, e.rx)
	e.Port = guest.New("guest", func(ring string, err error) { t.Errorf("%s ring: %v", ring, err) })
	return e
}

// install hands over what e has, in a lane if it is in one already.
func (e *syncEnd) install(l *lane, change func(*guest.Queues)) {
	e.t.Helper()
	q := &guest.Queues{
		ToGuest: e.rx.Device, FromGuest: e.tx.Device, ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen,
	}
	change(q)
	e.hand(l, func() { e.Install(q) })
}

// pause takes e's rings away.
func (e *syncEnd) pause(l *lane) { e.hand(l, e.Pause) }

// move lets e's rings go on in another view of its memory, and takes the first one away.
func (e *syncEnd) move(l *lane) {
	e.t.Helper()
	e.install(l, func(q *guest.Queues) {
		for _, m := range []struct {
			pair *vringtest.Pair
			to   **vring.Place
		}{{e.rx, &q.ToGuestPlace}, {e.tx, &q.FromGuestPlace}} {
			table, err := mem.New(m.pair.Mem.Regions())
			if err != nil {
				e.t.Fatal(err)
			}
			cfg := m.pair.DeviceConfig
			if *m.to, err = m.pair.Device.Place(table, cfg.Desc, cfg.Avail, cfg.Used); err != nil {
				e.t.Fatal(err)
			}
		}
	})
}

// hand lets control do something for which it waits for the forwarder.
func (e *syncEnd) hand(l *lane, control func()) {
	e.t.Helper()
	done := make(chan struct{})
	go func() { control(); close(done) }()
	for !e.Changed() {
	}
	if l == nil {
		e.Sync()
	} else {
		l.sync(memberOf(l, e, e.Port))
	}
	<-done
}
