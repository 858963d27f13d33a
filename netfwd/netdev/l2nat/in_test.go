package l2nat

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket/layers"
)

// withStations is a translator that knows where a and b are.
func withStations(t testing.TB) *translator {
	tr := newTest()
	for _, b := range [][]byte{
		udp4(t, aMAC, hostMAC, aIP, hostIP), udp6(t, aMAC, hostMAC, a6, host6), udp4(t, bMAC, hostMAC, bIP, hostIP), udp6(t, bMAC, hostMAC, b6, host6),
		tagged(udp4(t, bMAC, hostMAC, aIP, hostIP), 5), // another 10.0.0.10
	} {
		if v := tr.out(b, -1); v != pass {
			t.Fatalf("verdict %d", v)
		}
	}
	return tr
}

func group(last ...byte) net.HardwareAddr { return append(net.HardwareAddr{0x33, 0x33}, last...) }

func TestAnswersFindTheirStations(t *testing.T) {
	to := func(a net.HardwareAddr) map[string][]byte {
		b := bMAC
		if bytes.Equal(a, cardMAC) {
			b = cardMAC
		}
		return map[string][]byte{
			"IPv4":              udp4(t, hostMAC, a, hostIP, aIP),
			"IPv4 to the other": udp4(t, hostMAC, b, hostIP, bIP),
			"IPv6":              udp6(t, hostMAC, a, host6, a6),
			"IPv6 to the other": udp6(t, hostMAC, b, host6, b6),
			"VLAN":              tagged(udp4(t, hostMAC, b, hostIP, aIP), 5),
			"priority tag":      tagged(udp4(t, hostMAC, a, hostIP, aIP), 0),
			"ARP reply":         build(t, hostMAC, a, arpLayer(2, hostMAC, hostIP, a, aIP)),
			"ARP request":       build(t, hostMAC, a, arpLayer(1, hostMAC, hostIP, noMAC, aIP)),
			"advertisement":     nd(t, hostMAC, a, host6, a6, neighborAdvertisement, target(host6), link(2, hostMAC)),
			"solicitation":      nd(t, hostMAC, a, host6, a6, neighborSolicitation, target(a6), link(1, hostMAC)),
		}
	}
	want := to(aMAC)
	for name, b := range to(cardMAC) {
		if v := withStations(t).in(b); v != pass || !bytes.Equal(b, want[name]) {
			t.Errorf("%s: verdict %d, goes in as\n%x, want\n%x", name, v, b, want[name])
		}
	}
}

func TestGroupsAreForEveryone(t *testing.T) {
	mdns := net.IPv4(224, 0, 0, 251)
	for name, b := range map[string][]byte{
		"broadcast":     udp4(t, hostMAC, allMAC, hostIP, net.IPv4bcast),
		"ARP request":   build(t, hostMAC, allMAC, arpLayer(1, hostMAC, hostIP, noMAC, aIP)),
		"solicitation":  nd(t, hostMAC, group(0xff, 0, 0, 0xa), host6, net.ParseIP("ff02::1:ff00:a"), neighborSolicitation, target(a6), link(1, hostMAC)),
		"router":        nd(t, hostMAC, group(0, 0, 0, 1), host6, allNodes, routerAdvertisement, make([]byte, 12), mtuOption, link(1, hostMAC)),
		"something new": {1, 2, 3, 4, 5, 6, 0x3c, 0, 0, 0, 0, 1, 0x99, 0x99, 1, 2, 3},
	} {
		before := bytes.Clone(b)
		if v := withStations(t).in(b); v != pass || !bytes.Equal(b, before) {
			t.Errorf("%s: verdict %d, or changed", name, v)
		}
	}
	// An access point may send them to each of its stations, as to it alone.
	for name, c := range map[string]struct{ got, want []byte }{
		"broadcast": {udp4(t, hostMAC, cardMAC, hostIP, net.IPv4bcast), udp4(t, hostMAC, allMAC, hostIP, net.IPv4bcast)},
		"IPv4":      {udp4(t, hostMAC, cardMAC, hostIP, mdns), udp4(t, hostMAC, net.HardwareAddr{1, 0, 0x5e, 0, 0, 0xfb}, hostIP, mdns)},
		"IPv6":      {udp6(t, hostMAC, cardMAC, host6, allNodes), udp6(t, hostMAC, group(0, 0, 0, 1), host6, allNodes)},
	} {
		if v := withStations(t).in(c.got); v != pass || !bytes.Equal(c.got, c.want) {
			t.Errorf("%s to one: verdict %d, goes in as\n%x, want\n%x", name, v, c.got, c.want)
		}
	}
}

func TestWhatIsForNoStation(t *testing.T) {
	kind := func(k uint16, to net.HardwareAddr) []byte {
		b := udp4(t, hostMAC, to, hostIP, aIP)
		binary.BigEndian.PutUint16(b[12:], k)
		return b
	}
	unknown := net.IPv4(10, 0, 0, 99)
	for name, c := range map[string]struct {
		frame []byte
		want  verdict
	}{
		"IPv4 of the machine":    {udp4(t, hostMAC, cardMAC, hostIP, unknown), unmapped},
		"IPv6 of the machine":    {udp6(t, hostMAC, cardMAC, host6, net.ParseIP("fe80::99")), unmapped},
		"another VLAN":           {tagged(udp4(t, hostMAC, cardMAC, hostIP, bIP), 5), unmapped},
		"ARP of the machine":     {build(t, hostMAC, cardMAC, arpLayer(2, hostMAC, hostIP, cardMAC, unknown)), unmapped},
		"EAPOL":                  {kind(0x888e, cardMAC), unmapped},
		"broken IPv4":            {kind(typeIPv4, cardMAC)[:33], unmapped},
		"broken IPv6":            {kind(typeIPv6, cardMAC), unmapped},
		"someone else's":         {udp4(t, hostMAC, bMAC, hostIP, bIP), foreign},
		"our broadcast":          {udp4(t, cardMAC, allMAC, aIP, net.IPv4bcast), echo},
		"our request":            {build(t, cardMAC, allMAC, arpLayer(1, cardMAC, aIP, noMAC, bIP)), echo},
		"ARP by a proxy":         {build(t, hostMAC, cardMAC, arpLayer(2, cardMAC, bIP, cardMAC, aIP)), echo},
		"a request by a proxy":   {build(t, hostMAC, allMAC, arpLayer(1, cardMAC, bIP, noMAC, aIP)), echo},
		"discovery by a proxy":   {nd(t, hostMAC, cardMAC, host6, a6, neighborAdvertisement, target(b6), link(2, cardMAC)), echo},
		"a redirect to a card":   {nd(t, hostMAC, cardMAC, host6, a6, redirect, make([]byte, 36), link(2, cardMAC)), echo},
		"advertised to everyone": {nd(t, hostMAC, group(0, 0, 0, 1), host6, allNodes, neighborAdvertisement, target(b6), link(2, cardMAC)), echo},
	} {
		if v := withStations(t).in(c.frame); v != c.want {
			t.Errorf("%s: verdict %d, want %d", name, v, c.want)
		}
	}
	tr := withStations(t)
	if tr.table.tick(at(66)); tr.in(udp4(t, hostMAC, cardMAC, hostIP, aIP)) != unmapped {
		t.Error("an address is known beyond its age")
	}
}

func TestDHCP(t *testing.T) {
	yours := net.IPv4(10, 0, 0, 50)
	answer := func(to net.HardwareAddr, ip net.IP, kind layers.DHCPMsgType, xid uint32, chaddr net.HardwareAddr) []byte {
		return dhcpMessage(t, hostMAC, to, hostIP, ip, layers.DHCPOpReply, kind, xid, chaddr, yours)
	}
	tr := newTest()
	owner := func() mac { return tr.owner(address4(yours.To4(), 0)) }
	tr.out(dhcpMessage(t, aMAC, allMAC, noIP, net.IPv4bcast, layers.DHCPOpRequest, layers.DHCPMsgTypeDiscover, 7, aMAC, noIP), -1)

	for name, b := range map[string][]byte{
		"another transaction": answer(cardMAC, yours, layers.DHCPMsgTypeOffer, 8, aMAC),
		"another client":      answer(cardMAC, yours, layers.DHCPMsgTypeOffer, 7, bMAC),
	} {
		if v := tr.in(b); v != unmapped {
			t.Errorf("%s: verdict %d", name, v)
		}
	}
	for _, to := range []net.IP{yours, net.IPv4bcast} {
		b := answer(cardMAC, to, layers.DHCPMsgTypeOffer, 7, aMAC)
		if v := tr.in(b); v != pass || !bytes.Equal(b, answer(aMAC, to, layers.DHCPMsgTypeOffer, 7, aMAC)) {
			t.Errorf("an offer to %v: verdict %d, goes in as %x", to, v, b)
		}
	}
	if owner() != 0 {
		t.Error("an offer is taken for a lease")
	}
	// An acknowledgement to everyone teaches, whoever uses the address by then.
	tr.out(udp4(t, bMAC, hostMAC, yours, hostIP), -1)
	b := answer(allMAC, net.IPv4bcast, layers.DHCPMsgTypeAck, 7, aMAC)
	before := bytes.Clone(b)
	if v := tr.in(b); v != pass || !bytes.Equal(b, before) || owner() != macOf(aMAC) {
		t.Errorf("an acknowledgement: verdict %d, owner %x", v, owner())
	}
	if v := tr.out(udp4(t, bMAC, hostMAC, yours, hostIP), -1); v != spoofed {
		t.Errorf("a leased address is used by someone else: verdict %d", v)
	}
	// One that was not asked for does not.
	tr = newTest()
	if tr.in(answer(allMAC, net.IPv4bcast, layers.DHCPMsgTypeAck, 7, aMAC)); owner() != 0 {
		t.Error("an answer to no one teaches")
	}
}

func TestDHCPTypeReadsNoFurtherThanThereIs(t *testing.T) {
	for _, c := range []struct {
		options []byte
		want    byte
	}{
		{nil, 0}, {[]byte{53}, 0}, {[]byte{53, 1}, 0}, {[]byte{53, 1, 5}, 5}, {[]byte{0, 0, 53, 1, 5}, 5}, {[]byte{255, 53, 1, 5}, 0},
		{[]byte{1, 4, 0, 0, 0, 0, 53, 1, 2}, 2}, {[]byte{1, 200, 53, 1, 5}, 0}, {[]byte{53, 2, 5, 5}, 0}, {append(make([]byte, mostOptions), 53, 1, 5), 0},
	} {
		if got := dhcpType(c.options[:len(c.options):len(c.options)]); got != c.want {
			t.Errorf("%v: %d, want %d", c.options, got, c.want)
		}
	}
}
