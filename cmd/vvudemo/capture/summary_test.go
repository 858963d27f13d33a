package capture

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

var (
	app     = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x0a}
	gateway = net.HardwareAddr{0x52, 0x55, 10, 0, 2, 2}
)

// frame builds one frame from the app VM, or to it.
func frame(t *testing.T, fromApp bool, ethernetType layers.EthernetType, inner ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: gateway, DstMAC: app, EthernetType: ethernetType}
	if fromApp {
		eth.SrcMAC, eth.DstMAC = app, gateway
	}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, append([]gopacket.SerializableLayer{eth}, inner...)...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buffer.Bytes())
}

func ip(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: net.IPv4(10, 0, 2, 15), DstIP: net.IPv4(10, 0, 2, 2)}
}

func dhcp(t *testing.T, fromApp bool, kind layers.DHCPMsgType) []byte {
	message := &layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, ClientHWAddr: app,
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)})},
	}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	if !fromApp {
		udp.SrcPort, udp.DstPort = 67, 68
	}
	return frame(t, fromApp, layers.EthernetTypeIPv4, ip(layers.IPProtocolUDP), udp, message)
}

func echo(t *testing.T, fromApp bool) []byte {
	kind := uint8(layers.ICMPv4TypeEchoReply)
	if fromApp {
		kind = layers.ICMPv4TypeEchoRequest
	}
	return frame(t, fromApp, layers.EthernetTypeIPv4, ip(layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0)}, gopacket.Payload("ping"))
}

// pcap writes frames as QEMU does: a little-endian file with microseconds.
func pcap(t *testing.T, frames ...[]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

func TestSummarise(t *testing.T) {
	arp := &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: app, SourceProtAddress: []byte{10, 0, 2, 15}, DstHwAddress: make([]byte, 6), DstProtAddress: []byte{10, 0, 2, 2}}
	tagged := frame(t, true, layers.EthernetTypeDot1Q, &layers.Dot1Q{VLANIdentifier: 4094, Type: layers.EthernetTypeIPv4},
		ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 9, DstPort: 9}, gopacket.Payload("pktgen"))
	data := pcap(t,
		frame(t, true, layers.EthernetTypeARP, arp),
		dhcp(t, true, layers.DHCPMsgTypeDiscover), dhcp(t, false, layers.DHCPMsgTypeOffer),
		dhcp(t, true, layers.DHCPMsgTypeRequest), dhcp(t, false, layers.DHCPMsgTypeAck),
		echo(t, true), echo(t, false), echo(t, true),
		frame(t, false, layers.EthernetTypeIPv4, ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 4000, DataOffset: 5}, gopacket.Payload("data")),
		frame(t, true, layers.EthernetTypeIPv4, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 53}),
		tagged, tagged,
		frame(t, true, layers.EthernetTypeIPv6, gopacket.Payload("router solicitation")),
		frame(t, false, layers.EthernetTypeLinkLayerDiscovery, gopacket.Payload("lldp")),
		[]byte{1, 2, 3}, // a runt
	)
	path := filepath.Join(t.TempDir(), "nic.pcap")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Summarise(path, app)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]int64{}
	for _, kind := range Kinds {
		b := s.Kind(kind)
		got[kind] = [2]int64{b.FromApp.Frames, b.ToApp.Frames}
	}
	want := map[string][2]int64{ARP: {1, 0}, DHCP: {2, 2}, ICMP: {2, 1}, TCP: {0, 1}, UDP: {1, 0}, VLAN: {2, 0}, IPv6: {1, 0}, Other: {0, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames from and to the app VM (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"Discover": 1, "Offer": 1, "Request": 1, "Ack": 1}, s.DHCP); diff != "" {
		t.Errorf("DHCP messages (-want +got):\n%s", diff)
	}
	if s.EchoRequests != 2 || s.EchoReplies != 1 {
		t.Errorf("echoes: %d requests and %d replies, want 2 and 1", s.EchoRequests, s.EchoReplies)
	}
	if s.Total.FromApp.Frames != 9 || s.Total.ToApp.Frames != 6 {
		t.Errorf("total %+v, want 9 and 6 frames", s.Total)
	}
	if vlan := s.Kind(VLAN).FromApp.Bytes; vlan != int64(2*len(tagged)) {
		t.Errorf("VLAN bytes = %d, want %d", vlan, 2*len(tagged))
	}
}

func TestSummariseToleratesACutFile(t *testing.T) {
	whole := pcap(t, echo(t, true), echo(t, false))
	s, err := summarise(bytes.NewReader(whole[:len(whole)-3]), app)
	if err != nil || !s.Truncated || s.EchoRequests != 1 || s.EchoReplies != 0 {
		t.Errorf("summary = %+v, %v", s, err)
	}
}

func TestSummariseRefusesOtherFiles(t *testing.T) {
	if _, err := Summarise(filepath.Join(t.TempDir(), "absent.pcap"), app); err == nil || !strings.Contains(err.Error(), "absent.pcap") {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := summarise(strings.NewReader("this is a text file, not a capture"), app); err == nil {
		t.Error("a text file is accepted")
	}
	var raw bytes.Buffer
	if err := pcapgo.NewWriter(&raw).WriteFileHeader(65536, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	if _, err := summarise(&raw, app); err == nil || !strings.Contains(err.Error(), "Ethernet") {
		t.Errorf("raw IP gives %v", err)
	}
}
