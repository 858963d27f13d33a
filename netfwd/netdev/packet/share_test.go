package packet

import (
	"encoding/binary"
	"slices"
	"testing"

	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// answer is a frame of the same flow in the other direction.
func answer(frame []byte, ipv6 bool) []byte {
	f := slices.Clone(frame)
	swap := func(a, b, n int) {
		copy(f[a:a+n], frame[b:b+n])
		copy(f[b:b+n], frame[a:a+n])
	}
	swap(0, 6, 6)
	if ipv6 {
		swap(offSource6, offSource6+16, 16)
		swap(offPorts6, offPorts6+2, 2)
	} else {
		swap(offSource4, offSource4+4, 4)
		swap(offPorts4, offPorts4+2, 2)
	}
	return f
}

// Several queues share frames by flow, in both directions alike, and lose none: nor those that are cut off
// anywhere.
func TestQueuesShareFlows(t *testing.T) {
	netdevtest.Namespace(t)
	p := pair(t, 3)
	p.Run(t)
	queueOf := func(frame []byte) int {
		t.Helper()
		s := netdevtest.NewSource(t)
		s.Add(t, virtionet.Header{}, frame)
		s.Send(t, p.A.Ports()[0])
		before := make([]uint64, 3)
		for i, q := range p.B.Ports() {
			before[i] = q.Counters().RxPackets
		}
		got := netdevtest.Collect(t, p.B, 1)[0]
		if !slices.Equal(got.Bytes, frame) {
			t.Fatalf("% x came as % x", frame, got.Bytes)
		}
		for i, q := range p.B.Ports() {
			if q.Counters().RxPackets > before[i] {
				return i
			}
		}
		t.Fatal("no queue has counted it")
		return 0
	}
	used := map[int]int{}
	for _, shape := range packettest.Shapes(t, 100) {
		ports := -1
		switch {
		case len(shape.Frame) > 60 && shape.Frame[12] == 8 && shape.Frame[13] == 0 && shape.Frame[14] == 0x45 && shape.Layout.Protocol != 0:
			ports = offPorts4
		case len(shape.Frame) > 80 && shape.Frame[12] == 0x86 && (shape.Frame[offProtocol6] == 6 || shape.Frame[offProtocol6] == 17):
			ports = offPorts6
		default:
			queueOf(shape.Frame)
			continue
		}
		for flow := range 16 {
			f := slices.Clone(shape.Frame)
			binary.BigEndian.PutUint16(f[ports:], uint16(1000+flow))
			first := queueOf(f)
			used[first]++
			if back := queueOf(answer(f, ports == offPorts6)); back != first {
				t.Errorf("%s, flow %d: queue %d, and %d for the other direction", shape.Name, flow, first, back)
			}
		}
	}
	for i := range 3 {
		if used[i] == 0 {
			t.Errorf("no flow of %v came to queue %d", used, i)
		}
	}
	for _, kind := range []uint16{0x0800, 0x86dd, 0x0806} {
		for n := virtionet.MinFrame; n < 64; n++ {
			f := nettest.Payload(n, n)
			f[0] = 0x52
			binary.BigEndian.PutUint16(f[12:], kind)
			queueOf(f)
		}
	}
}
