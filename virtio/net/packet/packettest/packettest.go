// Package packettest makes frames for tests of whatever looks into frames, and checks
// them with another implementation than the one under test: gopacket, and checksums as
// RFC 1071 writes them down.
package packettest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vvufwd/virtio/net/packet"
)

// TB is what is needed of a test.
type TB interface {
	Helper()
	Fatal(...any)
}

// What the frames of Shapes have in common.
const (
	Sequence       uint32 = 0xffff_f000 // of TCP: it wraps in a frame of more than 4 KiB
	Identification uint16 = 0xfffe      // of IPv4: it wraps in the third piece
)

// Shape is a frame of some layout. If it carries TCP, then with FIN, PSH, CWR, ECE, ACK
// and a timestamp.
type Shape struct {
	Name   string
	Frame  []byte // whole, with checksums
	Layout packet.Layout
}

// Shapes are frames of every layout with a transport header that package packet knows,
// with n bytes of payload.
func Shapes(t TB, n int) []Shape {
	t.Helper()
	tag := func(kind layers.EthernetType) *layers.Dot1Q { return &layers.Dot1Q{VLANIdentifier: 5, Type: kind} }
	v4, v6 := ip4(layers.IPProtocolTCP), ip6(layers.IPProtocolTCP)
	u4, u6 := ip4(layers.IPProtocolUDP), ip6(layers.IPProtocolUDP)
	options := ip4(layers.IPProtocolTCP)
	options.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
	// Destination options of eight bytes, all padding; gopacket would not write them.
	extended := build(t, u6, ether(layers.EthernetTypeIPv6), u6, udp(), payload(n))
	extended = append(extended[:54:54], append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, extended[54:]...)...)
	extended[14+6] = 60
	binary.BigEndian.PutUint16(extended[14+4:], uint16(len(extended)-54))
	return []Shape{
		{"tcp4", build(t, v4, ether(layers.EthernetTypeIPv4), v4, tcp(), payload(n)), packet.Layout{L3: 14, L4: 34, End: 66, Protocol: packet.TCP}},
		{"tcp6", build(t, v6, ether(layers.EthernetTypeIPv6), v6, tcp(), payload(n)), packet.Layout{L3: 14, L4: 54, End: 86, Protocol: packet.TCP, IPv6: true}},
		{"udp4", build(t, u4, ether(layers.EthernetTypeIPv4), u4, udp(), payload(n)), packet.Layout{L3: 14, L4: 34, End: 42, Protocol: packet.UDP}},
		{"udp6", build(t, u6, ether(layers.EthernetTypeIPv6), u6, udp(), payload(n)), packet.Layout{L3: 14, L4: 54, End: 62, Protocol: packet.UDP, IPv6: true}},
		{"udp6 extended", extended, packet.Layout{L3: 14, L4: 62, End: 70, Protocol: packet.UDP, IPv6: true}},
		{"tcp4 tagged", build(t, v4, ether(layers.EthernetTypeDot1Q), tag(layers.EthernetTypeIPv4), v4, tcp(), payload(n)),
			packet.Layout{L3: 18, L4: 38, End: 70, Protocol: packet.TCP}},
		{"tcp6 tagged twice", build(t, v6, ether(layers.EthernetTypeDot1Q), tag(layers.EthernetTypeDot1Q), tag(layers.EthernetTypeIPv6), v6, tcp(), payload(n)),
			packet.Layout{L3: 22, L4: 62, End: 94, Protocol: packet.TCP, IPv6: true}},
		{"tcp4 options", build(t, options, ether(layers.EthernetTypeIPv4), options, tcp(), payload(n)), packet.Layout{L3: 14, L4: 38, End: 70, Protocol: packet.TCP}},
	}
}

// ChecksumField is where the transport header's checksum lies in the frame.
func (s *Shape) ChecksumField() int { return int(s.Layout.L4 + s.Layout.ChecksumOffset()) }

// Payload is what stands after the headers.
func (s *Shape) Payload() []byte { return s.Frame[s.Layout.End:] }

// Unfinished is the frame as a guest sends it that leaves the checksum to its device: the
// field holds the sum of the pseudo header.
func (s *Shape) Unfinished() []byte {
	b := bytes.Clone(s.Frame)
	binary.BigEndian.PutUint16(b[s.ChecksumField():], PseudoSum(b, s.Layout, len(b)-int(s.Layout.L4)))
	return b
}

// PseudoSum is the sum of the pseudo header for n bytes of transport header and payload.
func PseudoSum(head []byte, l packet.Layout, n int) uint16 {
	var b []byte
	if l.IPv6 {
		b = append(b, head[l.L3+8:l.L3+40]...)
	} else {
		b = append(b, head[l.L3+12:l.L3+20]...)
	}
	return Sum(append(b, 0, l.Protocol, byte(n>>8), byte(n)))
}

// Sum adds up two bytes after the other. Zero has two forms: compare modulo 0xffff.
func Sum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		v := uint32(b[i]) << 8
		if i+1 < len(b) {
			v |= uint32(b[i+1])
		}
		sum += v
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// Verify decodes a frame with gopacket, and encodes it again with lengths and checksums
// computed anew, which must give the same bytes.
func Verify(frame []byte) (gopacket.Packet, error) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		return p, e.Error()
	}
	var parts []gopacket.SerializableLayer
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.TCP:
			l.Padding = nil
			parts = append(parts, l)
		case *layers.IPv6Destination:
			parts = append(parts, gopacket.Payload(l.LayerContents()))
		case gopacket.SerializableLayer:
			parts = append(parts, l)
		}
	}
	again, err := serialize(p.NetworkLayer(), parts...)
	if err != nil {
		return p, err
	}
	if !bytes.HasPrefix(again, frame) || len(again) > max(len(frame), 60) { // it pads to what Ethernet wants
		return p, fmt.Errorf("%d bytes %x are %d bytes %x to gopacket", len(frame), frame[:min(len(frame), 100)], len(again), again[:min(len(again), 100)])
	}
	return p, nil
}

func build(t TB, network gopacket.NetworkLayer, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b, err := serialize(network, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func serialize(network gopacket.NetworkLayer, parts ...gopacket.SerializableLayer) ([]byte, error) {
	for _, p := range parts {
		if l, ok := p.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				return nil, err
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...)
	return bytes.Clone(b.Bytes()), err
}

func ether(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: kind}
}

func ip4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: Identification, Flags: layers.IPv4DontFragment, Protocol: protocol,
		SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(192, 168, 255, 254)}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::ffff:1234")}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 40001, DstPort: 4242, Seq: Sequence, Ack: 7, Window: 1000, ACK: true, PSH: true, FIN: true, CWR: true, ECE: true,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}}
}

func udp() *layers.UDP { return &layers.UDP{SrcPort: 40000, DstPort: 4242} }

func payload(n int) gopacket.Payload {
	b := make(gopacket.Payload, n)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return b
}
