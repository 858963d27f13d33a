package virtionic

import (
	"bytes"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
)

// serve does what a forwarder does until stop is closed, and counts the frames that arrive.
func (n *Port) serveUntil(stop chan struct{}, sent []byte) (arrived int) {
	var frames [8]virtionet.Frame
	for {
		select {
		case <-stop:
			return arrived
		default:
		}
		if n.Changed() {
			n.Sync()
		}
		k := n.RxBurst(frames[:])
		arrived += k
		n.Release(k)
		n.TxBurst([]virtionet.Frame{nettest.Frame(sent)})
		n.Notify()
		n.EnableKicks(true)
		n.DisableKicks()
	}
}

// TestNICIsReplaced takes the device from a queue pair that is served and gives it another,
// several times. Without one, frames are dropped as those for a NIC without a link, nothing
// wakes a sleeping loop, and what the device had is not touched.
func TestNICIsReplaced(t *testing.T) {
	first := newNICRig(t, rigFeatures, 8, 0)
	first.wakeFDs = []int{100, 101}
	port := first.Port
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		port.serveUntil(stop, nettest.Payload(60, 1))
	}()
	old := first
	for range 5 {
		port.replace(nil)
		kicks := old.rxKicks + old.txKicks
		for i := range old.rxBuffers.memory.Bytes {
			old.rxBuffers.memory.Bytes[i] = 0xff // somebody else's now
		}
		next := newNICRig(t, rigFeatures, 16, 9000)
		if n := old.rxKicks + old.txKicks; n != kicks {
			t.Fatalf("a device that is detached was told %d times of new buffers", n-kicks)
		}
		port.replace(next.Port)
		old = next
	}
	port.replace(nil)
	close(stop)
	<-done

	if fds := port.WakeFDs(); len(fds) != 0 {
		t.Errorf("without a device it waits for %v", fds)
	}
	before := port.counters.Drops[virtionet.DropLinkDown]
	if n := port.TxBurst([]virtionet.Frame{nettest.Frame(nettest.Payload(60, 1))}); n != 1 || port.counters.Drops[virtionet.DropLinkDown] != before+1 {
		t.Errorf("without a device: done with %d frames, drops %v", n, port.counters.Drops)
	}
	var frames [4]virtionet.Frame
	if n := port.RxBurst(frames[:]); n != 0 {
		t.Errorf("without a device %d frames arrived", n)
	}
	if f, r := port.EnableKicks(true); f || r {
		t.Error("without a device there is work")
	}

	// The last one works: frames pass through the port that was there from the beginning.
	last := newNICRig(t, rigFeatures, 16, 9000)
	replaced := make(chan struct{})
	go func() {
		defer close(replaced)
		port.replace(last.Port)
	}()
	for !port.Changed() {
	}
	port.Sync()
	<-replaced
	want := nettest.Payload(3000, 5)
	last.Port = port // for arrive's sake: the rings are the port's now
	raw := withHeader(2, want)
	last.arrive(t, raw[:2048], raw[2048:])
	if n := port.RxBurst(frames[:]); n != 1 || !bytes.Equal(vringtest.Join(frames[0].Data), want) {
		t.Errorf("%d frames arrived from the last device", n)
	}
	port.Release(1)
	if n := port.TxBurst([]virtionet.Frame{nettest.Frame(nettest.Payload(9000, 1))}); n != 1 {
		t.Error("nothing is sent to the last device")
	}
	last.devTx.Available()
	if last.devTx.Pending() != 1 {
		t.Error("the last device got nothing")
	}
}

// TestNICReplacedWhileHolding drops the frames that are held, and counts them.
func TestNICReplacedWhileHolding(t *testing.T) {
	r := newNICRig(t, rigFeatures, 8, 0)
	r.arrive(t, withHeader(1, nettest.Payload(60, 1)))
	r.arrive(t, withHeader(1, nettest.Payload(60, 2)))
	var frames [8]virtionet.Frame
	if n := r.RxBurst(frames[:]); n != 2 {
		t.Fatalf("%d frames", n)
	}
	r.Release(1)
	go r.replace(nil)
	for !r.Changed() {
	}
	r.Sync()
	if n := r.counters.Drops[virtionet.DropStopped]; n != 1 {
		t.Errorf("%d frames were counted as dropped, want 1", n)
	}
	r.Leave()
	r.replace(nil) // nobody forwards: it does not wait
}
