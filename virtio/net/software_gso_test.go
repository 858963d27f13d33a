package virtionet_test

import (
	"encoding/binary"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

// The longest frame that there is can ask for pieces that are longer than what an IPv4
// header can say. Such a request is refused; the longest that can be said is granted, and
// each piece says how long it is.
func TestPiecesSayHowLongTheyAre(t *testing.T) {
	for _, s := range packettest.Shapes(t, 1000) {
		t.Run(s.Name, func(t *testing.T) {
			s.Frame = append(s.Frame, make([]byte, virtionet.MaxFrame-len(s.Frame))...)
			payload := len(s.Payload())
			for size := payload - 8; size < payload+2; size++ {
				h := nettest.GSOHeader(s, size)
				var raw [virtionet.HeaderLen]byte
				h.Put(&raw)
				f := virtionet.Frame{Data: [][]byte{s.Frame}, Len: len(s.Frame)}
				granted := new(virtionet.HeaderParser).Parse(0, &f, (*[virtionet.LegacyHeaderLen]byte)(raw[:]), nettest.AllOffloads)
				possible := size <= longestPayload(s.Layout)
				if cut := size < payload; cut && granted != possible {
					t.Fatalf("segments of %d bytes, of which %d are possible: granted %v", size, longestPayload(s.Layout), granted)
				} else if !cut || !granted {
					continue
				}
				var gso virtionet.SoftwareGSO
				var c virtionet.Counters
				if !gso.Begin(&f, 0, virtionet.MaxFrame) {
					t.Fatalf("segments of %d bytes do not fit into the longest frame", size)
				}
				pieces := 0
				for o := gso.Next(&c); o != nil; o = gso.Next(&c) {
					pieces++
					checkLengths(t, s.Layout, o.Data[0], o.Len)
					gso.Sent(&c)
				}
				if pieces != 2 {
					t.Errorf("segments of %d bytes: %d pieces, want 2", size, pieces)
				}
			}
		})
	}
}

// longestPayload is how much payload a packet of the layout can have, by the widths of its
// length fields.
func longestPayload(l packet.Layout) int {
	ip, udp := 65535-int(l.End-l.L3), 65535-8
	if l.IPv6 {
		ip += 40
	}
	if l.Protocol == packet.UDP {
		return min(ip, udp)
	}
	return ip
}

// checkLengths compares what the headers of a frame of n bytes say with that.
func checkLengths(t *testing.T, l packet.Layout, head []byte, n int) {
	t.Helper()
	field := func(at uint16) int { return int(binary.BigEndian.Uint16(head[at:])) }
	said, want := field(l.L3+2), n-int(l.L3)
	if l.IPv6 {
		said, want = field(l.L3+4), n-int(l.L3)-40
	}
	if said != want {
		t.Errorf("an IP header says %d bytes, there are %d", said, want)
	}
	if l.Protocol == packet.UDP {
		if said, want := field(l.L4+4), n-int(l.L4); said != want {
			t.Errorf("a UDP header says %d bytes, there are %d", said, want)
		}
	}
}
