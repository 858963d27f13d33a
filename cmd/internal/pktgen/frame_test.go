package pktgen

import (
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Frames are what another program takes for UDP, and what they say of themselves is read back.
func TestFrames(t *testing.T) {
	from := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	for _, size := range []int{MinFrame, 61, 590, 1514, MaxFrame} {
		f := newFrame(size, 7, from)
		stamp{5, 1234567890*1e9 + 4321*1e3}.write(f)
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil || len(f) != size {
			t.Fatalf("%d bytes: %v", size, p.ErrorLayer())
		}
		ip, udp := p.NetworkLayer().(*layers.IPv4), p.TransportLayer().(*layers.UDP)
		if int(ip.Length) != size-14 || !ip.DstIP.Equal(ToIPv4) || udp.DstPort != Port || int(udp.SrcPort) != SourcePort(7) || checksum(f[offIP:offUDP]) != 0 {
			t.Errorf("%d bytes: %v %v", size, ip, udp)
		}
		if s, ok := parse(f[:headersLen], 7); !ok || s.number != 5 || s.nanos != 1234567890*1e9+4321*1e3 {
			t.Errorf("%d bytes: %+v, %v", size, s, ok)
		}
		if _, ok := parse(f, 8); ok {
			t.Error("a frame of another stream was taken")
		}
		for _, damaged := range []int{offType, offIP, offIP + 9, offMagic} {
			g := slices.Clone(f)
			g[damaged]++
			if _, ok := parse(g, 7); ok {
				t.Errorf("a frame with byte %d changed was taken", damaged)
			}
		}
		if _, ok := parse(f[:headersLen-1], 7); ok {
			t.Error("a piece of a frame was taken")
		}
	}
}

func TestSizes(t *testing.T) {
	for text, mean := range map[string]float64{"60": 60, "1514": 1514, "imix": (7*60 + 4*590 + 1514) / 12.0} {
		s, err := ParseSizes(text)
		if err != nil || s.String() != text || s.Mean() != mean {
			t.Errorf("%s: %v of %g bytes, %v", text, s, s.Mean(), err)
		}
	}
	for _, text := range []string{"", "59", "9015", "IMIX", "60,7"} {
		if s, err := ParseSizes(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
	cycle := IMIX.cycle()
	count := map[int]int{}
	for _, bytes := range cycle {
		count[bytes]++
	}
	if len(cycle) != 12 || count[60] != 7 || count[590] != 4 || count[1514] != 1 || IMIX.Max() != 1514 {
		t.Errorf("a cycle is %v", cycle)
	}
	if slices.Equal(cycle[:7], slices.Repeat([]int{60}, 7)) {
		t.Errorf("sizes are not spread: %v", cycle)
	}
	if got := IMIX.Weights(); got != "60,7 590,4 1514,1" {
		t.Errorf("the kernel is told %q", got)
	}
}

// Delays are what frames took above the fastest, also when the clocks disagree and when there are many.
func TestDelays(t *testing.T) {
	var few, many delays
	if few.sum() != (Delay{}) {
		t.Error("no frames have delays")
	}
	for i := range int64(100) {
		few.add(-5e9 + i*1e3)
	}
	if got, want := few.sum(), (Delay{Least: -5e6, P50: 50, P90: 90, P99: 99, Most: 99}); got != want {
		t.Errorf("delays %+v, want %+v", got, want)
	}
	const n = 5 * maxDelays
	for i := range int64(n) {
		many.add(i * 1e3)
	}
	got := many.sum()
	if len(many.kept) > maxDelays || got.Least != 0 || got.Most != n-1 {
		t.Errorf("of many frames %d are kept: %+v", len(many.kept), got)
	}
	for q, at := range map[float64]float64{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		if d := at/n - q; d > 0.01 || d < -0.01 {
			t.Errorf("quantile %g is %g of %d", q, at, n)
		}
	}
}
