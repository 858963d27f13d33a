package traffic

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vvufwd/cmd/vvugen/port"
)

// TestFrameDecodes reads frames with an independent decoder.
func TestFrameDecodes(t *testing.T) {
	for _, size := range []int{64, 65, 1518, 9000} {
		frame := make([]byte, size)
		h := newHeader(stream{3, 0, 1}, size)
		h.setFlow(130)
		h.seal(h.tag(), 130, 42, 0)
		copy(frame, h[:])
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil {
			t.Fatalf("%d bytes: %v", size, p.ErrorLayer().Error())
		}
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		if eth.SrcMAC[0]&3 != 2 || eth.DstMAC[0]&3 != 2 || eth.SrcMAC.String() == eth.DstMAC.String() {
			t.Errorf("addresses %v -> %v: want two local unicast ones", eth.SrcMAC, eth.DstMAC)
		}
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if int(ip.Length) != size-14 {
			t.Errorf("%d bytes: IPv4 length %d", size, ip.Length)
		}
		if sum := ipChecksum(frame[14:34]); sum != 0 {
			t.Errorf("IPv4 checksum is off by %#x", sum)
		}
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if int(udp.Length) != size-34 || udp.SrcPort != flowPort+130%flows || udp.DstPort != sinkPort {
			t.Errorf("%d bytes: UDP %d -> %d, length %d", size, udp.SrcPort, udp.DstPort, udp.Length)
		}
		if h.sequence() != 130 || h.stamp() != 42 {
			t.Errorf("number %d, stamp %d", h.sequence(), h.stamp())
		}
	}
}

// TestCheckCovers flips every bit that check guards.
func TestCheckCovers(t *testing.T) {
	const seq, stamp, size, sum = 12345, 67890, 1518, 0xabcdef01
	want := check(seq, stamp, size, sum)
	for bit := range 64 {
		if check(seq^1<<bit, stamp, size, sum) == want {
			t.Errorf("bit %d of the number is not covered", bit)
		}
		if check(seq, stamp^1<<bit, size, sum) == want {
			t.Errorf("bit %d of the stamp is not covered", bit)
		}
	}
	for a := range flows {
		for b := range a {
			if content(a, sum) == content(b, sum) {
				t.Errorf("flows %d and %d mix alike", a, b)
			}
		}
	}
	for bit := range 16 {
		if check(seq, stamp, size^1<<bit, sum) == want {
			t.Errorf("bit %d of the length is not covered", bit)
		}
	}
}

// TestPhasesDiffer checks that payloads next to each other have no byte run in
// common at the same place.
func TestPhasesDiffer(t *testing.T) {
	p := newPattern(256)
	seen := map[uint32]bool{}
	for i := range phases {
		if seen[p.sums[i]] {
			t.Errorf("phase %d has the checksum of another one", i)
		}
		seen[p.sums[i]] = true
		a, b := p.window(i), p.window(i+1)
		same := 0
		for k := range a {
			if a[k] == b[k] {
				same++
			}
		}
		if same > len(a)/16 {
			t.Errorf("phases %d and %d agree in %d of %d bytes", i, i+1, same, len(a))
		}
	}
}

// A port is one station in all its streams.
func TestStations(t *testing.T) {
	p := [4]*port.Port{new(port.Port), new(port.Port), new(port.Port), new(port.Port)}
	ways := []Way{{From: p[0], To: p[1]}, {From: p[1], To: p[0]}, {From: p[2], To: p[3]}}
	for i, p := range p {
		if got := stationOf(ways, p); got != uint16(i) {
			t.Errorf("port %d is station %d", i, got)
		}
	}
	there, back := newHeader(stream{0, 0x102, 1}, 64), newHeader(stream{1, 1, 0x102}, 64)
	if string(there[:6]) != string(back[6:12]) || string(there[6:12]) != string(back[:6]) || string(there[6:12]) != "\x02VG\x00\x01\x02" {
		t.Errorf("addresses %x and %x", there[:12], back[:12])
	}
}
