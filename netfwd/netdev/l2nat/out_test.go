package l2nat

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// behindOptions puts a header of options for every hop before what an IPv6 packet carries.
func behindOptions(b []byte) []byte {
	b = append(append(bytes.Clone(b[:54]), 58, 0, 5, 2, 0, 0, 1, 0), b[54:]...)
	b[14+ip6Next] = hopByHop
	binary.BigEndian.PutUint16(b[14+4:], uint16(len(b)-54))
	return b
}

// rarp makes a RARP packet of an ARP packet.
func rarp(b []byte) []byte {
	binary.BigEndian.PutUint16(b[12:], typeRARP)
	return b
}

var mtuOption = []byte{5, 1, 0, 0, 0, 0, 5, 220}

// outgoing are frames as a station at a MAC address sends them: what must leave is what a station with the
// card's address would have sent, with its checksums.
func outgoing(t testing.TB, from net.HardwareAddr) map[string][]byte {
	discover := dhcpMessage(t, from, allMAC, noIP, net.IPv4bcast, layers.DHCPOpRequest, layers.DHCPMsgTypeDiscover, 7, aMAC, noIP)
	if bytes.Equal(from, cardMAC) {
		discover = withBroadcastFlag(t, discover)
	}
	fragment := ip4Layer(aIP, hostIP)
	fragment.FragOffset = 100
	return map[string][]byte{
		"IPv4":              udp4(t, from, hostMAC, aIP, hostIP),
		"IPv4, broadcast":   udp4(t, from, allMAC, aIP, net.IPv4bcast),
		"IPv6":              udp6(t, from, hostMAC, a6, host6),
		"VLAN":              tagged(udp4(t, from, hostMAC, aIP, hostIP), 5),
		"two VLANs":         tagged(tagged(udp6(t, from, hostMAC, a6, host6), 5), 6),
		"fragment":          build(t, from, hostMAC, fragment, gopacket.Payload(make([]byte, 400))),
		"ARP request":       build(t, from, allMAC, arpLayer(1, from, aIP, noMAC, hostIP)),
		"ARP reply":         build(t, from, hostMAC, arpLayer(2, from, aIP, hostMAC, hostIP)),
		"ARP probe":         build(t, from, allMAC, arpLayer(1, from, noIP, noMAC, aIP)),
		"ARP announcement":  build(t, from, allMAC, arpLayer(2, from, aIP, from, aIP)),
		"ARP in a VLAN":     tagged(build(t, from, allMAC, arpLayer(1, from, aIP, noMAC, hostIP)), 9),
		"RARP":              rarp(build(t, from, allMAC, arpLayer(3, from, noIP, from, noIP))),
		"solicitation":      nd(t, from, allMAC, a6, allNodes, neighborSolicitation, target(host6), link(1, from)),
		"probe for others":  nd(t, from, allMAC, net.IPv6zero, allNodes, neighborSolicitation, target(a6)),
		"advertisement":     nd(t, from, hostMAC, a6, host6, neighborAdvertisement, target(a6), mtuOption, link(2, from)),
		"two options":       nd(t, from, allMAC, a6, allNodes, neighborAdvertisement, target(a6), link(2, from), link(2, from)),
		"routers wanted":    nd(t, from, allMAC, a6, allNodes, routerSolicitation, make([]byte, 4), link(1, from)),
		"router":            nd(t, from, allMAC, a6, allNodes, routerAdvertisement, make([]byte, 12), mtuOption, link(1, from)),
		"redirect":          nd(t, from, hostMAC, a6, host6, redirect, make([]byte, 36), link(2, hostMAC)),
		"redirect to us":    nd(t, from, hostMAC, a6, host6, redirect, make([]byte, 36), link(2, from)),
		"in a VLAN":         tagged(nd(t, from, allMAC, a6, allNodes, neighborSolicitation, target(host6), link(1, from)), 5),
		"behind options":    behindOptions(nd(t, from, allMAC, a6, allNodes, neighborSolicitation, target(host6), link(1, from))),
		"ping":              build(t, from, hostMAC, ip6Layer(a6, host6, layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, text),
		"DHCP":              discover,
		"DHCP in a VLAN":    tagged(discover, 5),
		"neither, but IPv4": udp4(t, from, hostMAC, net.IPv4(127, 0, 0, 1), hostIP),
	}
}

// withBroadcastFlag is a DHCP message with that flag, which gopacket leaves out.
func withBroadcastFlag(t testing.TB, b []byte) []byte {
	t.Helper()
	const udpAt, flagsAt = 34, 34 + 8 + dhcpFlags
	b = bytes.Clone(b)
	b[flagsAt] = 0x80
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	ip, u := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4), p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	again := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(again, gopacket.SerializeOptions{ComputeChecksums: true}, u, gopacket.Payload(b[udpAt+8:])); err != nil {
		t.Fatal(err)
	}
	return append(b[:udpAt], again.Bytes()...)
}

func TestWhatLeavesIsTheCards(t *testing.T) {
	want := outgoing(t, cardMAC)
	for name, b := range outgoing(t, aMAC) {
		tr := newTest()
		if v := tr.out(b, -1); v != pass {
			t.Errorf("%s: verdict %d", name, v)
		}
		if !bytes.Equal(b, want[name]) {
			t.Errorf("%s: leaves as\n%x, want\n%x", name, b, want[name])
		}
	}
}

// A checksum that someone else completes is that of a pseudo header, in which nothing changes.
func TestSumsThatOthersCompleteAreLeftAlone(t *testing.T) {
	for name, at := range map[string]int{"advertisement": 14 + ip6Len + icmpChecksum, "DHCP": 14 + ip4Len + udpChecksum} {
		b, want := outgoing(t, aMAC)[name], outgoing(t, cardMAC)[name]
		b[at], b[at+1] = 0x12, 0x34
		want[at], want[at+1] = 0x12, 0x34
		if v := newTest().out(b, at); v != pass || !bytes.Equal(b, want) {
			t.Errorf("%s: verdict %d, leaves as\n%x, want\n%x", name, v, b, want)
		}
	}
	// No sum at all stays none.
	b, want := outgoing(t, aMAC)["DHCP"], outgoing(t, cardMAC)["DHCP"]
	const at = 14 + ip4Len + udpChecksum
	clear(b[at : at+2])
	clear(want[at : at+2])
	if v := newTest().out(b, -1); v != pass || !bytes.Equal(b, want) {
		t.Errorf("without a checksum: verdict %d, leaves as\n%x, want\n%x", v, b, want)
	}
}

func TestWhatLeavesTeaches(t *testing.T) {
	for name, want := range map[string]address{
		"IPv4": address4(aIP.To4(), 0), "IPv6": address6(a6, 0), "VLAN": address4(aIP.To4(), 5), "two VLANs": address6(a6, 6|5<<12),
		"ARP request": address4(aIP.To4(), 0), "ARP reply": address4(aIP.To4(), 0), "advertisement": address6(a6, 0), "fragment": address4(aIP.To4(), 0),
		"ARP in a VLAN": address4(aIP.To4(), 9), "solicitation": address6(a6, 0), "routers wanted": address6(a6, 0),
		"ARP probe": {}, "RARP": {}, "probe for others": {}, "DHCP": {}, "neither, but IPv4": {},
	} {
		tr := newTest()
		tr.out(outgoing(t, aMAC)[name], -1)
		if want == (address{}) {
			if tr.table.owners.used != 0 {
				t.Errorf("%s: teaches %d addresses", name, tr.table.owners.used)
			}
		} else if tr.owner(want) != macOf(aMAC) || tr.table.owners.used != 1 {
			t.Errorf("%s: not learned, or something else", name)
		}
	}
	// A target that is not where the advertisement comes from is learned too.
	tr := newTest()
	tr.out(nd(t, bMAC, allMAC, a6, allNodes, neighborAdvertisement, target(b6), link(2, bMAC)), -1)
	if tr.owner(address6(b6, 0)) != macOf(bMAC) || tr.owner(address6(a6, 0)) != macOf(bMAC) {
		t.Error("the target of an advertisement is not learned")
	}
}

func TestWhatMustNotLeave(t *testing.T) {
	kind := func(k uint16) []byte {
		b := udp4(t, aMAC, hostMAC, aIP, hostIP)
		binary.BigEndian.PutUint16(b[12:], k)
		return b
	}
	cut := func(b []byte, n int) []byte { return b[:n:n] }
	many := nd(t, aMAC, allMAC, a6, allNodes, neighborAdvertisement, target(a6), bytes.Repeat(mtuOption, mostNDOptions), link(2, aMAC))
	for name, c := range map[string]struct {
		frame []byte
		want  verdict
	}{
		"EAPOL":                {kind(0x888e), filtered},
		"EAPOL in a VLAN":      {tagged(kind(0x888e), 5), filtered},
		"LLDP":                 {kind(0x88cc), filtered},
		"a length":             {kind(100), filtered},
		"three tags":           {tagged(tagged(tagged(kind(typeIPv4), 1), 2), 3), filtered},
		"a tag and no more":    {cut(tagged(kind(typeIPv4), 1), 16), filtered},
		"ARP cut off":          {cut(build(t, aMAC, allMAC, arpLayer(1, aMAC, aIP, noMAC, hostIP)), 14+27), filtered},
		"ARP of another kind":  {build(t, aMAC, allMAC, &layers.ARP{AddrType: 6, Protocol: 0x800, HwAddressSize: 6, ProtAddressSize: 4, SourceHwAddress: aMAC, SourceProtAddress: aIP.To4(), DstHwAddress: noMAC, DstProtAddress: hostIP.To4()}), filtered},
		"IPv4 cut off":         {cut(udp4(t, aMAC, hostMAC, aIP, hostIP), 33), filtered},
		"IPv6 cut off":         {cut(udp6(t, aMAC, hostMAC, a6, host6), 53), filtered},
		"IPv4 that is IPv6":    {kind(typeIPv6), filtered},
		"an Ethernet header":   {cut(kind(typeIPv4), 14), filtered},
		"for the card":         {udp4(t, aMAC, cardMAC, aIP, hostIP), filtered},
		"too many options":     {many, filtered},
		"from a group":         {udp4(t, allMAC, hostMAC, aIP, hostIP), spoofed},
		"from no one":          {udp4(t, noMAC, hostMAC, aIP, hostIP), spoofed},
		"another's IPv4":       {udp4(t, aMAC, hostMAC, bIP, hostIP), spoofed},
		"another's IPv6":       {udp6(t, aMAC, hostMAC, b6, host6), spoofed},
		"another's ARP":        {build(t, aMAC, allMAC, arpLayer(1, aMAC, bIP, aMAC, bIP)), spoofed},
		"another's target":     {nd(t, aMAC, allMAC, a6, allNodes, neighborAdvertisement, target(b6), link(2, aMAC)), spoofed},
		"another's in a VLAN":  {tagged(udp4(t, aMAC, hostMAC, bIP, hostIP), 5), pass},
		"another's, no longer": {udp4(t, aMAC, hostMAC, net.IPv4(10, 0, 0, 77), hostIP), pass},
	} {
		tr := newTest()
		tr.table.claim(address4(net.IPv4(10, 0, 0, 77).To4(), 0), macOf(bMAC), false)
		tr.table.tick(at(66))
		tr.out(udp4(t, bMAC, hostMAC, bIP, hostIP), -1)
		tr.out(udp6(t, bMAC, hostMAC, b6, host6), -1)
		if v := tr.out(c.frame, -1); v != c.want {
			t.Errorf("%s: verdict %d, want %d", name, v, c.want)
		}
		if tr.owner(address4(bIP.To4(), 0)) != macOf(bMAC) || tr.owner(address6(b6, 0)) != macOf(bMAC) {
			t.Errorf("%s: takes an address away", name)
		}
	}
	tr := newTest()
	if tr.card = 0; tr.out(udp4(t, aMAC, hostMAC, aIP, hostIP), -1) != filtered {
		t.Error("frames leave through a card without an address")
	}
}
