package tap

import (
	"context"
	"sync"
	"testing"
	"time"

	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
)

// A device that is moved to another network namespace, as for a container, goes on there, and is followed again
// when it is back.
func TestAnotherNamespace(t *testing.T) {
	netdevtest.Namespace(t)
	another := netdevtest.AnotherNamespace(t)
	d := open(t, "t0", 1)
	links := make(chan bool, 16)
	d.Follow(func() {}, func(up bool) { links <- up })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	defer func() {
		cancel()
		running.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()

	s := netdevtest.NewSource(t)
	port := d.Ports()[0]
	passes := func(where string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			before := port.Counters().TxPackets
			s.Reset()
			s.Add(t, virtionet.Header{}, make([]byte, 64))
			if s.Send(t, port); port.Counters().TxPackets > before {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: nothing passes: %v", where, port.Counters().Drops)
			}
		}
	}
	passes("at first")
	another.Take(t, "t0")
	another.IP(t, "link set t0 up")
	passes("in another namespace")
	another.Give(t, "t0")
	netdevtest.IP(t, "link set t0 up mtu 4000")
	passes("back")
	for end := time.Now().Add(time.Minute); !d.Stats().Link; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", d.Stats())
		}
	}
	if s := d.Stats(); s.Returns != 0 {
		t.Errorf("%+v: it was never gone", s)
	}
}
