package packet_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket/layers"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

func TestSumIsThatOfRFC1071(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		b := make([]byte, random.IntN(300))
		switch random.IntN(3) {
		case 0:
			for i := range b {
				b[i] = 0xff // carries everywhere
			}
		default:
			for i := range b {
				b[i] = byte(random.Uint32())
			}
		}
		var s packet.Sum
		for rest := b; ; {
			n := random.IntN(len(rest) + 1)
			s.Add(rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		var got [2]byte
		binary.LittleEndian.PutUint16(got[:], s.Fold())
		if want := packettest.Sum(b); binary.BigEndian.Uint16(got[:])%0xffff != want%0xffff {
			t.Fatalf("sum of %x is %x, want %04x", b, got, want)
		}
	}
}

func TestParseFindsHeaders(t *testing.T) {
	for _, s := range packettest.Shapes(t, 10) {
		if got := packet.Parse(s.Frame); got != s.Layout {
			t.Errorf("%s: %+v, want %+v", s.Name, got, s.Layout)
		}
		// Cut anywhere, it finds as much as there is, and nothing after the end.
		for n := range s.Frame {
			got := packet.Parse(s.Frame[:n:n])
			if n >= int(s.Layout.End) && got != s.Layout || n < int(s.Layout.End) && got.Protocol != 0 {
				t.Errorf("%s: cut to %d bytes: %+v", s.Name, n, got)
			}
			if int(max(got.L3, got.L4, got.End)) > n {
				t.Errorf("%s: cut to %d bytes: %+v", s.Name, n, got)
			}
		}
	}
}

func TestParseStopsAtWhatIsNoTransport(t *testing.T) {
	whole := packettest.Shapes(t, 40)[0].Frame
	for name, c := range map[string]struct {
		change func(b []byte)
		l4     uint16
	}{
		"later fragment":   {func(b []byte) { b[20], b[21] = 0, 1 }, 34},
		"first fragment":   {func(b []byte) { b[20] = 0x20 }, 34},
		"other protocol":   {func(b []byte) { b[23] = 132 }, 34},
		"TCP header short": {func(b []byte) { b[34+12] = 0x40 }, 34},
		"TCP header long":  {func(b []byte) { b[34+12] = 0xf0 }, 34},
		"IP header short":  {func(b []byte) { b[14] = 0x44 }, 14},
		"IP header long":   {func(b []byte) { b[14] = 0x4f; clear(b[34:]) }, 74},
		"IP version":       {func(b []byte) { b[14] = 0x65 }, 14},
		"not IP":           {func(b []byte) { b[12] = 0x88 }, 14},
	} {
		b := bytes.Clone(whole)[:34+40+14]
		c.change(b)
		if got := packet.Parse(b); got.Protocol != 0 || got.End != 0 || got.L4 != c.l4 {
			t.Errorf("%s: %+v, want no protocol and L4 at %d", name, got, c.l4)
		}
	}
}

func TestParseFollowsIPv6ExtensionsNoFurtherThanTheyAre(t *testing.T) {
	whole := packettest.Shapes(t, 40)[4].Frame // options of 8 bytes at 54, UDP at 62
	for name, c := range map[string]struct {
		change func(b []byte)
		l4     uint16
	}{
		"options after the end": {func(b []byte) { b[55] = 255 }, 54},
		"fragment header":       {func(b []byte) { b[14+6] = 44 }, 54},
		"options, then unknown": {func(b []byte) { b[54] = 59 }, 62},
		"other version":         {func(b []byte) { b[14] = 0x40 }, 14},
	} {
		b := bytes.Clone(whole)
		c.change(b)
		if got := packet.Parse(b); got.Protocol != 0 || got.End != 0 || got.L4 != c.l4 {
			t.Errorf("%s: %+v, want no protocol and L4 at %d", name, got, c.l4)
		}
	}
}

// Segments are what gopacket makes of the same payload piece by piece.
func TestSegmentsAreThoseOfAnHonestStack(t *testing.T) {
	const total = 5000
	for _, s := range packettest.Shapes(t, total) {
		for _, size := range []int{1, 536, 1448, 4999} {
			l := s.Layout
			head, data := s.Unfinished()[:l.End], s.Payload()
			scratch, before := make([]byte, packet.MaxHead), bytes.Clone(head)
			for off, i := 0, 0; off < total; off, i = off+size, i+1 {
				n := min(size, total-off)
				piece := packet.Segment(scratch, head, l, i, off, n, total)
				got, want := binary.BigEndian.Uint16(piece[s.ChecksumField():]), packettest.PseudoSum(head, l, int(l.End-l.L4)+n)
				if got%0xffff != want%0xffff {
					t.Fatalf("%s: piece of %d at %d leaves the sum %#x, want that of its pseudo header %#x", s.Name, n, off, got, want)
				}
				var sum packet.Sum
				sum.Add(piece[l.L4:])
				sum.Add(data[off : off+n])
				packet.Complete(piece, s.ChecksumField(), &sum)
				checkPiece(t, s.Name, append(bytes.Clone(piece), data[off:off+n]...), i, off, off+n == total)
			}
			if !bytes.Equal(head, before) {
				t.Errorf("%s: the original's headers were changed", s.Name)
			}
		}
	}
}

func checkPiece(t *testing.T, name string, frame []byte, index, off int, last bool) {
	t.Helper()
	p, err := packettest.Verify(frame)
	if err != nil {
		t.Fatalf("%s: piece at %d: %v", name, off, err)
	}
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && ip.Id != packettest.Identification+uint16(index) {
		t.Errorf("%s: piece %d has the identification %#x", name, index, ip.Id)
	}
	if tcp, ok := p.TransportLayer().(*layers.TCP); ok {
		if tcp.Seq != packettest.Sequence+uint32(off) {
			t.Errorf("%s: piece at %d has the sequence number %#x", name, off, tcp.Seq)
		}
		if tcp.FIN != last || tcp.PSH != last || tcp.CWR != (off == 0) || !tcp.ACK || !tcp.ECE {
			t.Errorf("%s: piece at %d (last: %v) has FIN %v PSH %v CWR %v ACK %v ECE %v", name, off, last, tcp.FIN, tcp.PSH, tcp.CWR, tcp.ACK, tcp.ECE)
		}
	}
}

// A UDP checksum that comes out as zero is sent as its other form.
func TestCompleteNeverStoresZero(t *testing.T) {
	b := []byte{0xff, 0xfe, 0, 1, 0, 0}
	var s packet.Sum
	s.Add(b)
	if packet.Complete(b, 4, &s); b[4] != 0xff || b[5] != 0xff {
		t.Errorf("checksum %x, want ffff", b[4:])
	}
}

func BenchmarkSum(b *testing.B) {
	data := make([]byte, 1448)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var s packet.Sum
		s.Add(data)
		s.Fold()
	}
}
