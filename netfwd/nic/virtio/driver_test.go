package virtio

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/nic"
	"vvufwd/vfio/dma"
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	virtionic "vvufwd/virtio/net/nic"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/virtio/vring/vringtest"
)

// arena is memory that no device reaches; it counts what was taken.
type arena struct{ bytes int }

func (a *arena) Alloc(size, _ int) (dma.Memory, error) {
	a.bytes += size
	return dma.Memory{Bytes: vringtest.Memory(size), IOVA: dma.IOVA(a.bytes+4095) &^ 4095}, nil
}

// opener opens the device as vvufwd does.
type opener struct {
	*device
	arena arena
	pool  *dma.Pool
	opens int
}

func newOpener(t *testing.T) *opener {
	o := &opener{device: newDevice(t)}
	o.pool = dma.NewPool(&o.arena)
	return o
}

func (o *opener) Open(pairs int, failed func(error)) (nic.Card, error) {
	o.pool.Rewind()
	o.opens++
	return Driver.Open(o.device, nic.Config{Memory: o.pool, QueueSize: 8, MaxPairs: pairs, Failed: failed})
}

func (o *opener) Stop(bool) error { o.DisableMSIX(); return nil }

// What a device is found to be is why it is restarted: it asks for a reset, was reset by someone
// else, or is gone and comes back.
func TestBrokenDeviceIsRestarted(t *testing.T) {
	o := newOpener(t)
	slot, up, err := nic.NewSlot(o, 1)
	if err != nil || !up {
		t.Fatal(up, err)
	}
	slot.Ports()[0].(netfwd.Replaceable).Leave() // no one forwards
	ctx, cancel := context.WithCancel(t.Context())
	links := make(chan bool, 8)
	w := nic.Watcher{Slot: slot, OnLink: func(up bool) { links <- up }, Log: zap.NewNop()}
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	link := func(want bool) {
		t.Helper()
		select {
		case up := <-links:
			if up != want {
				t.Fatalf("link up %v, want %v", up, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("the link did not become %v", want)
		}
	}
	running := uint64(virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK | virtio.StatusDriverOK)
	for i, fail := range []func(){
		func() { o.nic.Poke(commonAt+status, 1, running|uint64(virtio.StatusNeedsReset)) },
		func() { o.nic.Poke(commonAt+status, 1, 0) },
		func() { o.setGone(true) },
	} {
		fail()
		link(false)
		o.setGone(false)
		link(true)
		if got := o.nic.Peek(commonAt+status, 1); got != running {
			t.Errorf("failure %d: its status is %#x afterwards, want %#x", i, got, running)
		}
	}
	cancel()
	<-done
	if st := slot.State(); st.Restarts != 3 || !st.Working {
		t.Errorf("state %+v", st)
	}
	if err := slot.Close(); err != nil {
		t.Error(err)
	}
}

// A device that takes frames and sends none of them is found out by its ring, and restarted.
func TestHungDeviceIsRestarted(t *testing.T) {
	o := newOpener(t)
	slot, _, err := nic.NewSlot(o, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	back := make(chan struct{}, 1)
	w := nic.Watcher{Slot: slot, Log: zap.NewNop(), LookEvery: 10 * time.Millisecond, OnLink: func(up bool) {
		if up {
			back <- struct{}{}
		}
	}}
	var all sync.WaitGroup
	all.Go(func() { w.Run(ctx) })
	all.Go(func() {
		port := slot.Ports()[0]
		r := port.(netfwd.Replaceable)
		var b virtionet.Burst
		b.General()[0] = nettest.Frame(nettest.Payload(60, 1))
		b.Truncate(1)
		for sent := 0; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if r.Changed() {
				r.Sync()
			}
			if sent < 3 {
				sent += port.Transmit(&b, 0, 1)
			}
		}
		r.Leave()
	})
	select {
	case <-back:
	case <-time.After(time.Minute):
		t.Error("it was not restarted")
	}
	cancel()
	all.Wait()
	if st := slot.State(); o.opens != 2 || st.Restarts != 1 {
		t.Errorf("opened %d times, state %+v", o.opens, st)
	}
	if err := slot.Close(); err != nil {
		t.Error(err)
	}
}

// Watch names what is wrong.
func TestWatchSaysWhy(t *testing.T) {
	for _, test := range []struct {
		fail func(d *device)
		want error
	}{
		{func(d *device) { d.nic.Poke(commonAt+status, 1, 0x4f) }, virtionic.ErrNeedsReset},
		{func(d *device) { d.nic.Poke(commonAt+status, 1, 0) }, virtionic.ErrWasReset},
		{func(d *device) { d.setGone(true) }, virtiopci.ErrAbsent},
	} {
		o := newOpener(t)
		card, err := o.Open(1, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		test.fail(o.device)
		if err := card.Watch(t.Context(), func(bool) {}); !errors.Is(err, test.want) || !strings.Contains(err.Error(), "0000:00:04.0") {
			t.Errorf("got %v, want %v", err, test.want)
		}
		if err := card.Close(); err != nil {
			t.Errorf("%v: closing: %v", test.want, err)
		}
	}
}

// A device that may filter is told not to, through its third queue. One that does not answer is used, and the log says so.
func TestFilters(t *testing.T) {
	for more, filters := range map[virtio.Features]bool{0: false, virtio.NetCtrlVQ: false, virtio.NetCtrlRX: false, virtio.NetCtrlVQ | virtio.NetCtrlRX: true} {
		o := newOpener(t)
		o.more = more
		card, err := o.Open(1, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		if details := card.Info().Details; o.enabled[2] != filters || strings.Contains(details, "CTRL_RX") != filters ||
			strings.Contains(details, "PROMISC: the device does not answer") != filters {
			t.Errorf("%v: control queue %v, details %q", more, o.enabled[2], details)
		}
		if err := card.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A thousand restarts take no more memory than the first start, and leave no descriptor open.
func TestThousandRestarts(t *testing.T) {
	o := newOpener(t)
	first := 0
	for i := range 1001 {
		card, err := o.Open(1, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if i == 0 {
			first = o.arena.bytes
		}
		if err := errors.Join(card.Close(), o.Stop(false)); err != nil {
			t.Fatal(err)
		}
	}
	if o.arena.bytes != first || first == 0 {
		t.Errorf("%d bytes were taken, %d of them at the first start", o.arena.bytes, first)
	}
	if o.resets < 1001 {
		t.Errorf("the device was reset %d times", o.resets)
	}
}
