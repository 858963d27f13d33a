package netdevtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

// Addresses of a tunnel, and how many bytes come before a frame in one: Ethernet, IPv4, UDP, and VXLAN's header.
const (
	tunnelNear  = "192.0.2.1"
	tunnelFar   = "192.0.2.2"
	tunnelBytes = 14 + 20 + 8 + 8
)

// Tunnel makes an interface vx0, whose frames leave through another one of the machine's own, an Ethernet interface that is up, in a
// VXLAN tunnel. The test is skipped where the kernel has no such tunnels.
func Tunnel(t testing.TB, through string) {
	t.Helper()
	IP(t, "addr add "+tunnelNear+"/24 dev "+through)
	IP(t, "neigh add "+tunnelFar+" lladdr 02:00:00:00:00:02 dev "+through)
	if err := tryIP("link add vx0 mtu 1400 type vxlan id 5 remote " + tunnelFar + " local " + tunnelNear + " dstport 4789 dev " + through); err != nil {
		t.Skipf("skipped: the kernel has no VXLAN: %v", err)
	}
	IP(t, "link set vx0 up")
}

// Tunnelled sends large segments into a tunnel, and looks at what arrives at the other end of the interface through which it leads. No
// virtio-net header that we have agreed upon can describe such a segment while it is in a tunnel. So it may come in pieces that someone
// has cut, or be lost, and counted; nothing else comes, and what is sent afterwards does. It returns how many were lost.
func Tunnelled(t *testing.T, into, from *netdev.Device) (lost int) {
	t.Helper()
	tags := uint32(0)
	// mark sends a plain frame, and marked takes what has arrived: other frames, and whether the last mark was among them.
	mark := func() {
		tags++
		s := NewSource(t)
		s.Add(t, virtionet.Header{}, binary.BigEndian.AppendUint32(plain(300, 0), tags))
		s.Send(t, into.Ports()[0])
	}
	marked := func() (others [][]byte, yes bool) {
		for _, f := range inner(t, from) {
			switch {
			case f[12] != 0x88 || f[13] != 0xb5:
				others = append(others, f)
			case len(f) == 304 && binary.BigEndian.Uint32(f[300:]) == tags:
				yes = true
			}
		}
		return others, yes
	}
	passes := func() {
		t.Helper()
		for end, next := time.Now().Add(time.Minute), time.Now(); ; {
			if time.Now().After(next) { // the first ones may be too early
				mark()
				next = time.Now().Add(100 * time.Millisecond)
			}
			if others, yes := marked(); len(others) > 0 {
				t.Fatalf("%d frames more come", len(others))
			} else if yes {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("nothing comes through the tunnel any more; drops %v", from.Ports()[0].Counters().Drops)
			}
		}
	}
	passes()
	for _, shape := range packettest.Shapes(t, 3000) {
		if shape.Layout.Protocol == 0 {
			continue
		}
		s := NewSource(t)
		s.Add(t, nettest.GSOHeader(shape, 1000), shape.Unfinished())
		before := countedLost(from)
		s.Send(t, into.Ports()[0])
		var pieces [][]byte
		for end, next := time.Now().Add(time.Minute), time.Now(); ; {
			if time.Now().After(next) { // a ring that is stuck counts these only
				mark()
				next = time.Now().Add(100 * time.Millisecond)
			}
			others, _ := marked()
			pieces = append(pieces, others...)
			if payloadOf(pieces) >= 3000 {
				if err := comesTo(pieces, shape.Payload()); err != nil {
					t.Errorf("%s: %v", shape.Name, err)
				}
				break
			}
			if countedLost(from) > before {
				lost++
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: it is lost, and not counted; %d pieces have come", shape.Name, len(pieces))
			}
		}
		passes()
	}
	return lost
}

// payloadOf is how many bytes frames have after their headers.
func payloadOf(frames [][]byte) (n int) {
	for _, f := range frames {
		n += len(f) - int(packet.Parse(f).End)
	}
	return n
}

// countedLost is how many frames are counted as lost at a device, on the way in.
func countedLost(d *netdev.Device) (n uint64) {
	if k := d.Stats().Dropped; k != nil {
		n = *k
	}
	for _, q := range d.Ports() {
		n += q.Counters().Drops[virtionet.DropBadHeader]
	}
	return n
}

// inner takes what has arrived at a device through a tunnel, and returns the frames within, with what was left undone in them done.
func inner(t *testing.T, d *netdev.Device) (frames [][]byte) {
	t.Helper()
	var b virtionet.Burst
	for _, q := range d.Ports() {
		serve(q)
		for q.Receive(&b); b.Len() > 0; q.Receive(&b) {
			for _, f := range b.Frames(0, b.Len()) {
				outer := slices.Concat(f.Data...)
				if len(outer) < tunnelBytes+virtionet.MinFrame || outer[23] != byte(packet.UDP) {
					continue // the machine's own
				}
				if f.Header.IsGSO() {
					t.Errorf("a frame in a tunnel is to be cut: %+v", f.Header)
					continue
				}
				if h := f.Header; h.Flags&virtionet.FlagNeedsCsum != 0 {
					binary.BigEndian.PutUint16(outer[h.CsumStart+h.CsumOffset:], ^packettest.Sum(outer[h.CsumStart:]))
				}
				if sum := binary.BigEndian.Uint16(outer[40:]); sum != 0 {
					if head := packettest.PseudoSum(outer, packet.Parse(outer), len(outer)-34); packettest.Sum(append(outer[34:len(outer):len(outer)], pad(len(outer), head)...))%0xffff != 0 {
						t.Errorf("the outer checksum of a frame in a tunnel is wrong: %x", outer[:tunnelBytes])
					}
				}
				frames = append(frames, outer[tunnelBytes:])
			}
			q.Release(&b, 0, b.Len())
		}
	}
	return frames
}

// pad is a sum, to be added up with those of a frame of n bytes.
func pad(n int, sum uint16) []byte {
	if n%2 != 0 {
		return []byte{0, byte(sum >> 8), byte(sum)}
	}
	return []byte{byte(sum >> 8), byte(sum)}
}

// comesTo returns an error unless the payloads of frames are these bytes, one after the other.
func comesTo(frames [][]byte, want []byte) error {
	var got []byte
	for _, f := range frames {
		if _, err := packettest.Verify(f); err != nil {
			return err
		}
		got = append(got, f[packet.Parse(f).End:]...)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d frames with %d bytes came, which are not the %d that were sent", len(frames), len(got), len(want))
	}
	return nil
}
