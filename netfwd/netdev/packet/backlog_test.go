package packet

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
)

// What a socket has room for while no one reads: several times what a front-end has under way, of the longest
// frames, and all of it arrives. What is more is counted.
func TestBacklog(t *testing.T) {
	netdevtest.Namespace(t)
	p := pair(t, 1)
	defer func() {
		if err := errors.Join(p.A.Close(), p.B.Close()); err != nil {
			t.Error(err)
		}
	}()
	if !p.A.AwaitLink(t.Context()) || !p.B.AwaitLink(t.Context()) {
		t.Fatal("no link")
	}
	from, to := p.A.Ports()[0], p.B.Ports()[0]
	s := netdevtest.NewSource(t)
	frame := make([]byte, netdevtest.MTU+14)
	frame[0], frame[12], frame[13] = 2, 0x88, 0xb5
	sent, arrived := uint64(0), uint64(0)
	send := func(n int) {
		for range n {
			s.Reset()
			s.Add(t, virtionet.Header{}, frame)
			s.Send(t, from)
		}
		sent += uint64(n)
	}
	receive := func() {
		var b virtionet.Burst
		for to.Receive(&b); b.Len() > 0; to.Receive(&b) {
			arrived += uint64(b.Len())
			to.Release(&b, 0, b.Len())
		}
	}
	dropped := func() uint64 { return *p.B.Stats().Dropped + from.Counters().Dropped() }
	settle := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if receive(); arrived+dropped()+lostBetween(t) == sent {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d frames sent, %d arrived, %d counted as dropped", sent, arrived, dropped())
			}
		}
	}
	if unix.SetsockoptInt(netdevtest.Socket(t), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveMemory) != nil {
		t.Skip("skipped: larger buffers than net.core.rmem_max take CAP_NET_ADMIN of the machine")
	}
	send(256)
	if settle(); dropped() != 0 {
		t.Errorf("%d of 256 frames of %d bytes find no room", dropped(), len(frame))
	}
	send(8 * receiveMemory / len(frame))
	if settle(); *p.B.Stats().Dropped == 0 {
		t.Error("no frame was dropped: this does not say whether it is counted")
	}
}

// lostBetween is how many frames found no room in the queue of a busy CPU, between the two ends of a veth pair: all
// interfaces of the machine share it, and the kernel counts it at the interface.
func lostBetween(t *testing.T) uint64 {
	t.Helper()
	out, err := exec.Command("ip", "-s", "-j", "link", "show", "v0").Output()
	if err != nil {
		t.Fatal(err)
	}
	var links []struct {
		Stats64 struct{ Tx struct{ Dropped uint64 } }
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return links[0].Stats64.Tx.Dropped
}
