package netfwd

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	virtionet "vvufwd/virtio/net"
)

// flowFrame is a frame of a flow, or of its other direction, with a number in it.
func flowFrame(t *testing.T, v6, udp, vlan, back bool, flow, number int) []byte {
	t.Helper()
	a, b := net.IP{10, 0, 0, byte(flow)}, net.IP{10, 0, 1, 9}
	if v6 {
		a, b = net.ParseIP("fd00::1"), net.ParseIP("fd00::2")
		a[15] = byte(flow)
	}
	pa, pb := uint16(1000+flow), uint16(80)
	ma, mb := addressOf(station(1)), addressOf(station(0))
	if back {
		a, b, pa, pb, ma, mb = b, a, pb, pa, mb, ma
	}
	var stack []gopacket.SerializableLayer
	eth := &layers.Ethernet{SrcMAC: ma, DstMAC: mb, EthernetType: layers.EthernetTypeIPv4}
	if v6 {
		eth.EthernetType = layers.EthernetTypeIPv6
	}
	stack = append(stack, eth)
	if vlan {
		stack = append(stack, &layers.Dot1Q{VLANIdentifier: 5, Type: eth.EthernetType})
		eth.EthernetType = layers.EthernetTypeDot1Q
	}
	proto := layers.IPProtocolTCP
	if udp {
		proto = layers.IPProtocolUDP
	}
	if v6 {
		stack = append(stack, &layers.IPv6{Version: 6, NextHeader: proto, HopLimit: 64, SrcIP: a, DstIP: b})
	} else {
		stack = append(stack, &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: a, DstIP: b})
	}
	if udp {
		stack = append(stack, &layers.UDP{SrcPort: layers.UDPPort(pa), DstPort: layers.UDPPort(pb)})
	} else {
		stack = append(stack, &layers.TCP{SrcPort: layers.TCPPort(pa), DstPort: layers.TCPPort(pb), ACK: true})
	}
	stack = append(stack, gopacket.Payload(binary.LittleEndian.AppendUint32(make([]byte, 40), uint32(number))))
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, stack...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

// burstOf is a burst of frames, each in some pieces, or plain ones, each in one.
func burstOf(plain bool, frames ...[][]byte) *virtionet.Burst {
	var b virtionet.Burst
	b.Reset()
	for _, f := range frames {
		if plain {
			b.Add(virtionet.AddressOf(f[0]), uint32(len(f[0])))
		}
	}
	if !plain {
		list := b.General()
		for i, f := range frames {
			list[i] = virtionet.Frame{Data: f, Len: len(bytes.Join(f, nil))}
		}
		b.Truncate(len(frames))
	}
	return &b
}

// Both directions of a flow have the same hash, different flows hardly ever do, and a
// frame's cut into pieces does not matter.
func TestFlowOf(t *testing.T) {
	seen := map[int]int{}
	flows := 0
	for kind := range 8 {
		v6, udp, vlan := kind&1 != 0, kind&2 != 0, kind&4 != 0
		for flow := range 50 {
			there := flowFrame(t, v6, udp, vlan, false, flow, 1)
			back := flowFrame(t, v6, udp, vlan, true, flow, 2)
			h := flowOf(burstOf(false, [][]byte{there}), 0)
			if got := flowOf(burstOf(false, [][]byte{back[:3], back[3:40], back[40:]}), 0); got != h {
				t.Fatalf("flow %d is %d there and %d back", flow, h, got)
			}
			if h < 0 || h >= flowSlots {
				t.Fatalf("hash %d", h)
			}
			if vlan {
				continue // the same flows once more
			}
			seen[h]++
			flows++
		}
	}
	if len(seen) < flows*9/10 {
		t.Errorf("%d flows have only %d hashes", flows, len(seen))
	}
	// No IP, too short for it, and broken: by the addresses.
	arp := append(frame(station(1), station(2), 0)[:12:12], 8, 6, 0, 1)
	back := append(frame(station(2), station(1), 0)[:12:12], 8, 6, 0, 2)
	other := append(frame(station(2), station(3), 0)[:12:12], 8, 6, 0, 2)
	of := func(b []byte) int { return flowOf(burstOf(true, [][]byte{b}), 0) }
	if of(arp) != of(back) || of(arp) == of(other) {
		t.Errorf("frames without IP are %d, %d back, %d of others", of(arp), of(back), of(other))
	}
	for n := virtionet.MinFrame; n < 40; n++ {
		of(flowFrame(t, true, false, false, false, 1, 1)[:n]) // does not panic
	}
}

// A burst is sorted by queue pair, nothing is lost, and flows keep their order; what a
// guest sends decides where the answers go.
func TestSteering(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for round := range 300 {
		s := &steering{}
		for i := range 1 + rng.Intn(8) {
			s.queues = append(s.queues, newMember(&fakePort{name: string(rune('a' + i))}))
		}
		flows := 1 + rng.Intn(20)
		home := map[int]int{}
		for flow := range flows {
			if rng.Intn(2) == 0 {
				home[flow] = rng.Intn(len(s.queues))
				l := &learner{s, home[flow]}
				l.note(burstOf(true, [][]byte{flowFrame(t, false, false, false, false, flow, 0)}))
			}
		}
		n, first := 1+rng.Intn(virtionet.MaxBurst), 0
		first = rng.Intn(n)
		src := &fakePort{plain: round%2 == 0}
		of := make([]int, n)
		for i := range n {
			of[i] = rng.Intn(flows)
			src.in = append(src.in, flowFrame(t, false, false, false, true, of[i], i))
		}
		st := newSteered(s)
		d := newDirection(newMember(src))
		d.receive()
		d.advance(first)
		out, i := st.sort(&d.batch)
		last, count := map[int]int{}, 0
		for i < out.Len() {
			q, end := st.run(i)
			for ; i < end; i++ {
				b := bytes.Join(out.Frames(i, i+1)[0].Data, nil)
				number := int(binary.LittleEndian.Uint32(b[len(b)-4:]))
				if out.Index(i) != number {
					t.Fatalf("frame %d is said to be number %d", number, out.Index(i))
				}
				flow := of[number]
				if before, ok := last[flow]; ok && before > number {
					t.Fatalf("frame %d of flow %d is after %d", number, flow, before)
				}
				last[flow] = number
				count++
				h := flowOf(out, i)
				want := h * len(s.queues) >> flowBits
				if s.flows[h] != 0 {
					want = int(s.flows[h] - 1)
				}
				if q != s.queues[want] {
					t.Fatalf("frame %d goes to %s, want queue pair %d", number, q.Name(), want)
				}
				if at, known := home[flow]; known && at != want && uniqueHash(t, flow, flows) {
					t.Fatalf("flow %d goes to queue pair %d, the guest sends it through %d", flow, want, at)
				}
			}
		}
		if count != n-first {
			t.Fatalf("%d of %d frames are left", count, n-first)
		}
	}
}

// uniqueHash reports whether no other flow has the hash of this one.
func uniqueHash(t *testing.T, flow, flows int) bool {
	t.Helper()
	of := func(i int) int {
		return flowOf(burstOf(true, [][]byte{flowFrame(t, false, false, false, false, i, 0)}), 0)
	}
	for i := range flows {
		if i != flow && of(i) == of(flow) {
			return false
		}
	}
	return true
}

// Frames for several queue pairs wait for the one that has no room, are released when
// all are sent, and come through when their lane is built anew in between.
func TestSteeredDirection(t *testing.T) {
	for _, plain := range []bool{false, true} {
		steeredDirection(t, &fakePort{name: "src", plain: plain})
	}
}

func steeredDirection(t *testing.T, src *fakePort) {
	for i := range 40 {
		src.in = append(src.in, flowFrame(t, false, false, false, false, i%10, i))
	}
	ports := []*fakePort{{name: "a", room: -1}, {name: "b", room: 2}, {name: "c", room: -1}}
	d, _ := newSteeredLane(src, asPorts(ports)...)
	queues := d.steer.queues
	if !d.step() || !d.blocked() || src.held != 40 || d.dst != queues[1] {
		t.Fatalf("blocked %v at %s, %d frames held", d.blocked(), d.dst.Name(), src.held)
	}
	if d.step() {
		t.Error("frames move though there is no room")
	}
	// The guest gives the queue pair up that has no room.
	left := []*member{queues[0], queues[2]}
	d.dst, d.steer, d.stale = left[0], newSteered(&steering{queues: left}), true
	if !d.step() || d.blocked() || src.held != 0 {
		t.Fatalf("blocked %v, %d frames held", d.blocked(), src.held)
	}
	check := func(want int) {
		t.Helper()
		var got []int
		for _, q := range ports {
			last := map[byte]int{}
			for _, b := range q.out {
				number := int(binary.LittleEndian.Uint32(b[len(b)-4:]))
				if flow := b[29]; number < last[flow] {
					t.Errorf("%s: flow %d: frame %d is after %d", q.name, flow, number, last[flow])
				} else {
					last[flow] = number
				}
				got = append(got, number)
			}
		}
		slices.Sort(got)
		for i, n := range got {
			if i != n {
				t.Fatalf("frame %d is missing or doubled", i)
			}
		}
		if len(got) != want {
			t.Fatalf("%d frames arrived, want %d", len(got), want)
		}
	}
	check(40)
	// From several to one, with some sent.
	for i := range 40 {
		src.in = append(src.in, flowFrame(t, false, false, false, false, i%10, 40+i))
	}
	ports[2].room = 1
	if !d.step() || !d.blocked() {
		t.Fatal("not blocked")
	}
	d.dst, d.steer, d.stale = queues[0], nil, true
	if !d.step() || d.blocked() || src.held != 0 {
		t.Fatalf("blocked %v, %d frames held", d.blocked(), src.held)
	}
	check(80)
}
