package vlanpeer

import (
	"bytes"
	"net"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Peer is who answers: a station in one VLAN, with an IPv4 address.
type Peer struct {
	VLAN uint16
	MAC  net.HardwareAddr
	IP   net.IP
}

// Answer returns the frame to send in answer to a frame, without its tag, that came with the given VLAN, or nil if there is none to
// send: it answers ARP requests and echo requests for its own addresses. Frames come from the app VM and are not trusted.
func (p Peer) Answer(vlan uint16, frame []byte) ([]byte, error) {
	if vlan != p.VLAN {
		return nil, nil
	}
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	ethernet, ok := packet.LinkLayer().(*layers.Ethernet)
	if !ok || packet.ErrorLayer() != nil {
		return nil, nil // noise
	}
	var answer []gopacket.SerializableLayer
	switch {
	case packet.Layer(layers.LayerTypeARP) != nil:
		answer = p.arp(packet.Layer(layers.LayerTypeARP).(*layers.ARP))
	case packet.Layer(layers.LayerTypeICMPv4) != nil && bytes.Equal(ethernet.DstMAC, p.MAC):
		answer = p.echo(packet)
	}
	if answer == nil {
		return nil, nil
	}
	head := []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: p.MAC, DstMAC: ethernet.SrcMAC, EthernetType: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{VLANIdentifier: p.VLAN, Type: ethernet.EthernetType},
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, append(head, answer...)...); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func (p Peer) arp(q *layers.ARP) []gopacket.SerializableLayer {
	if q.Operation != layers.ARPRequest || !p.IP.Equal(q.DstProtAddress) {
		return nil
	}
	return []gopacket.SerializableLayer{&layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
		SourceHwAddress: p.MAC, SourceProtAddress: p.IP.To4(), DstHwAddress: q.SourceHwAddress, DstProtAddress: q.SourceProtAddress,
	}}
}

func (p Peer) echo(packet gopacket.Packet) []gopacket.SerializableLayer {
	ip, isIP := packet.NetworkLayer().(*layers.IPv4)
	q := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !isIP || !p.IP.Equal(ip.DstIP) || q.TypeCode.Type() != layers.ICMPv4TypeEchoRequest {
		return nil
	}
	return []gopacket.SerializableLayer{
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: p.IP, DstIP: ip.SrcIP},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0), Id: q.Id, Seq: q.Seq},
		gopacket.Payload(q.Payload),
	}
}
