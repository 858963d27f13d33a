package l2nat

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Who is there in tests: a card, stations behind it, and a host on the network.
var (
	cardMAC = net.HardwareAddr{0x02, 0xca, 0, 0, 0, 0x0d}
	aMAC    = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x0a}
	bMAC    = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x0b}
	hostMAC = net.HardwareAddr{0x3c, 0x00, 0, 0, 0, 0x01}
	allMAC  = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

	aIP, bIP, hostIP = net.IPv4(10, 0, 0, 10), net.IPv4(10, 0, 0, 11), net.IPv4(10, 0, 0, 1)

	a6, b6, host6 = net.ParseIP("fe80::a"), net.ParseIP("fd00::b"), net.ParseIP("fe80::1")
	allNodes      = net.ParseIP("ff02::1")
	noIP          = net.IPv4zero
)

func macOf(a net.HardwareAddr) mac { return macAt(a) }

// newTest is a translator at its first moment.
func newTest() *translator {
	t := newTranslator(limits{addresses: 64, stations: 16, each: 8}, testAge)
	t.card = macOf(cardMAC)
	t.table.tick(at(0))
	return t
}

// build makes a frame with lengths and checksums as they should be.
func build(t testing.TB, from, to net.HardwareAddr, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	e := &layers.Ethernet{SrcMAC: from, DstMAC: to}
	kind := func(l gopacket.SerializableLayer) layers.EthernetType {
		switch l.(type) {
		case *layers.ARP:
			return layers.EthernetTypeARP
		case *layers.IPv6:
			return layers.EthernetTypeIPv6
		case *layers.Dot1Q:
			return layers.EthernetTypeDot1Q
		}
		return layers.EthernetTypeIPv4
	}
	e.EthernetType = kind(parts[0])
	var network gopacket.NetworkLayer
	for i, p := range parts {
		if n, ok := p.(gopacket.NetworkLayer); ok {
			network = n
		}
		if tag, ok := p.(*layers.Dot1Q); ok {
			tag.Type = kind(parts[i+1])
		}
		if sum, ok := p.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := sum.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, o, append([]gopacket.SerializableLayer{e}, parts...)...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

func arpLayer(op uint16, senderHW net.HardwareAddr, sender net.IP, targetHW net.HardwareAddr, target net.IP) *layers.ARP {
	return &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: senderHW, SourceProtAddress: sender.To4(), DstHwAddress: targetHW, DstProtAddress: target.To4(),
	}
}

var noMAC = make(net.HardwareAddr, 6)

func ip4Layer(from, to net.IP) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from, DstIP: to}
}

func ip6Layer(from, to net.IP, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: next, SrcIP: from, DstIP: to}
}

func udpLayer(from, to int) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
}

var text = gopacket.Payload("as it was")

// udp4 and udp6 are packets from one to the other.
func udp4(t testing.TB, srcMAC, dstMAC net.HardwareAddr, src, dst net.IP) []byte {
	t.Helper()
	return build(t, srcMAC, dstMAC, ip4Layer(src, dst), udpLayer(1000, 2000), text)
}

func udp6(t testing.TB, srcMAC, dstMAC net.HardwareAddr, src, dst net.IP) []byte {
	t.Helper()
	return build(t, srcMAC, dstMAC, ip6Layer(src, dst, layers.IPProtocolUDP), udpLayer(1000, 2000), text)
}

// nd is a message of neighbour discovery: its body after the first four bytes, and options.
func nd(t testing.TB, srcMAC, dstMAC net.HardwareAddr, src, dst net.IP, kind uint8, body []byte, options ...[]byte) []byte {
	t.Helper()
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	for _, o := range options {
		body = append(body, o...)
	}
	return build(t, srcMAC, dstMAC, ip6Layer(src, dst, layers.IPProtocolICMPv6), icmp, gopacket.Payload(body))
}

// target is the body of a solicitation or an advertisement, link an option.
func target(ip net.IP) []byte { return append(make([]byte, 4), ip.To16()...) }

func link(kind byte, a net.HardwareAddr) []byte { return append([]byte{kind, 1}, a...) }

// dhcpMessage is one between a client's address and a server's.
func dhcpMessage(t testing.TB, srcMAC, dstMAC net.HardwareAddr, src, dst net.IP, op layers.DHCPOp, kind layers.DHCPMsgType, xid uint32, chaddr net.HardwareAddr, yours net.IP) []byte {
	t.Helper()
	from, to := 68, 67
	if op == layers.DHCPOpReply {
		from, to = to, from
	}
	m := &layers.DHCPv4{
		Operation: op, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: xid, ClientHWAddr: chaddr, YourClientIP: yours,
		ClientIP: noIP, NextServerIP: noIP, RelayAgentIP: noIP,
		Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptPad, nil), layers.NewDHCPOption(layers.DHCPOptHostname, []byte("guest")),
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)}), layers.NewDHCPOption(layers.DHCPOptEnd, nil),
		},
	}
	return build(t, srcMAC, dstMAC, ip4Layer(src, dst), udpLayer(from, to), m)
}

// tagged puts a VLAN tag into a frame.
func tagged(b []byte, vlan uint16) []byte {
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, vlan|0x6000)
	return append(append(bytes.Clone(b[:12]), tag...), b[12:]...)
}
