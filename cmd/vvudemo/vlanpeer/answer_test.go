package vlanpeer

import (
	"bytes"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var (
	peer   = Peer{VLAN: 5, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 5}, IP: net.IPv4(10, 231, 78, 1)}
	client = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x0a}
)

func frame(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buffer.Bytes())
}

func arpRequest(t testing.TB, ip net.IP) []byte {
	return frame(t, &layers.Ethernet{SrcMAC: client, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: client, SourceProtAddress: net.IPv4(10, 231, 78, 2).To4(), DstHwAddress: make([]byte, 6), DstProtAddress: ip.To4(),
	})
}

func echoRequest(t testing.TB, mac net.HardwareAddr, ip net.IP, kind uint8) []byte {
	return frame(t, &layers.Ethernet{SrcMAC: client, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: net.IPv4(10, 231, 78, 2), DstIP: ip},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: 7, Seq: 9}, gopacket.Payload("payload"))
}

func TestAnswersARP(t *testing.T) {
	answer, err := peer.Answer(5, arpRequest(t, peer.IP))
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
	tag, _ := p.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q)
	arp, _ := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if tag == nil || tag.VLANIdentifier != 5 || arp == nil || arp.Operation != layers.ARPReply || !bytes.Equal(arp.SourceHwAddress, peer.MAC) ||
		!bytes.Equal(arp.DstHwAddress, client) {
		t.Errorf("answer = %v", p)
	}
}

func TestAnswersEcho(t *testing.T) {
	answer, err := peer.Answer(5, echoRequest(t, peer.MAC, peer.IP, layers.ICMPv4TypeEchoRequest))
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
	tag, _ := p.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q)
	ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	echo, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if tag == nil || tag.VLANIdentifier != 5 || ip == nil || !ip.SrcIP.Equal(peer.IP) || echo == nil || echo.TypeCode.Type() != layers.ICMPv4TypeEchoReply ||
		echo.Id != 7 || echo.Seq != 9 || string(echo.Payload) != "payload" {
		t.Errorf("answer = %v", p)
	}
}

func TestAnswersNothingElse(t *testing.T) {
	other := net.IPv4(10, 231, 78, 9)
	for name, q := range map[string]struct {
		vlan  uint16
		frame []byte
	}{
		"no tag":                  {0, arpRequest(t, peer.IP)},
		"another VLAN":            {6, echoRequest(t, peer.MAC, peer.IP, layers.ICMPv4TypeEchoRequest)},
		"ARP for another":         {5, arpRequest(t, other)},
		"echo to another address": {5, echoRequest(t, peer.MAC, other, layers.ICMPv4TypeEchoRequest)},
		"echo to another station": {5, echoRequest(t, client, peer.IP, layers.ICMPv4TypeEchoRequest)},
		"an answer":               {5, echoRequest(t, peer.MAC, peer.IP, layers.ICMPv4TypeEchoReply)},
		"noise":                   {5, []byte("noise")},
		"nothing":                 {5, nil},
	} {
		if answer, err := peer.Answer(q.vlan, q.frame); err != nil || answer != nil {
			t.Errorf("%s: %d bytes, %v", name, len(answer), err)
		}
	}
}

// FuzzAnswer feeds what a hostile guest may send: it must neither panic nor fail.
func FuzzAnswer(f *testing.F) {
	f.Add(arpRequest(f, peer.IP))
	f.Add(echoRequest(f, peer.MAC, peer.IP, layers.ICMPv4TypeEchoRequest))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := peer.Answer(peer.VLAN, data); err != nil {
			t.Fatal(err)
		}
	})
}
