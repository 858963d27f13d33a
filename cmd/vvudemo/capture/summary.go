package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Count is a number of frames and their bytes, without the frame check sequence.
type Count struct {
	Frames int64 `json:"frames"`
	Bytes  int64 `json:"bytes"`
}

func (c *Count) add(bytes int) {
	c.Frames++
	c.Bytes += int64(bytes)
}

// Both is what was seen in each direction.
type Both struct {
	FromApp Count `json:"from_app"` // sent by the app VM
	ToApp   Count `json:"to_app"`   // sent by anyone else
}

func (b *Both) direction(fromApp bool) *Count {
	if fromApp {
		return &b.FromApp
	}
	return &b.ToApp
}

// Kinds of frames, in the order in which they are reported.
const (
	ARP   = "ARP"
	DHCP  = "DHCP"
	ICMP  = "ICMP"
	TCP   = "TCP"
	UDP   = "UDP"  // other than DHCP
	VLAN  = "VLAN" // the packet generator's frames
	IPv6  = "IPv6"
	Other = "other"
)

// Kinds lists all kinds in the order in which they are reported.
var Kinds = []string{ARP, DHCP, ICMP, TCP, UDP, VLAN, IPv6, Other}

// Summary is what a capture holds.
type Summary struct {
	File   string           `json:"file"`
	Total  Both             `json:"total"`
	ByKind map[string]*Both `json:"by_kind"` // only the kinds that occurred
	// DHCP counts the DHCP messages of each type: "Discover", "Offer", "Request", "Ack".
	DHCP map[string]int64 `json:"dhcp"`
	// EchoRequests and EchoReplies count ICMP messages.
	EchoRequests int64 `json:"echo_requests"`
	EchoReplies  int64 `json:"echo_replies"`
	// Truncated says that the file ends in the middle of a frame, as it does when its writer was killed.
	Truncated bool `json:"truncated,omitempty"`
}

// Kind returns the counts of one kind, which are zero if none occurred.
func (s *Summary) Kind(kind string) Both {
	if b := s.ByKind[kind]; b != nil {
		return *b
	}
	return Both{}
}

// Summarise reads the capture in file. app is the app VM's hardware address: it tells the directions apart.
func Summarise(file string, app net.HardwareAddr) (*Summary, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	s, err := summarise(f, app)
	if err != nil {
		return nil, fmt.Errorf("read the capture %s: %w", file, err)
	}
	s.File = file
	return s, nil
}

func summarise(r io.Reader, app net.HardwareAddr) (*Summary, error) {
	reader, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, err
	}
	if reader.LinkType() != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("it holds %v frames, want Ethernet", reader.LinkType())
	}
	s := &Summary{ByKind: make(map[string]*Both), DHCP: make(map[string]int64)}
	d := newDecoder()
	for {
		data, info, err := reader.ZeroCopyReadPacketData()
		switch {
		case err == nil:
			s.count(d, data, info.Length, app)
		case errors.Is(err, io.EOF):
			return s, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			s.Truncated = true
			return s, nil
		default:
			return nil, err
		}
	}
}

// count adds one frame.
func (s *Summary) count(d *decoder, data []byte, length int, app net.HardwareAddr) {
	kind := d.kind(data)
	fromApp := bytes.Equal(d.eth.SrcMAC, app)
	s.Total.direction(fromApp).add(length)
	both := s.ByKind[kind]
	if both == nil {
		both = new(Both)
		s.ByKind[kind] = both
	}
	both.direction(fromApp).add(length)
	switch kind {
	case DHCP:
		s.DHCP[d.dhcpType()]++
	case ICMP:
		switch d.icmp.TypeCode.Type() {
		case layers.ICMPv4TypeEchoRequest:
			s.EchoRequests++
		case layers.ICMPv4TypeEchoReply:
			s.EchoReplies++
		}
	}
}

// decoder takes frames apart without allocating for each: a capture may hold a million. Owned by one goroutine.
type decoder struct {
	parser  *gopacket.DecodingLayerParser
	decoded []gopacket.LayerType

	eth  layers.Ethernet
	arp  layers.ARP
	vlan layers.Dot1Q
	ip4  layers.IPv4
	icmp layers.ICMPv4
	tcp  layers.TCP
	udp  layers.UDP
	dhcp layers.DHCPv4
}

func newDecoder() *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &d.eth, &d.arp, &d.vlan, &d.ip4, &d.icmp, &d.tcp, &d.udp, &d.dhcp)
	d.parser.IgnoreUnsupported = true
	return d
}

// kind decodes a frame and names its kind by the innermost header that was recognised.
func (d *decoder) kind(data []byte) string {
	d.eth = layers.Ethernet{} // a frame too short to have addresses must not show those of the one before
	kind := Other
	// An error means that a header is damaged or cut; what was decoded before it still counts.
	_ = d.parser.DecodeLayers(data, &d.decoded)
	for _, layer := range d.decoded {
		switch layer {
		case layers.LayerTypeEthernet:
			if d.eth.EthernetType == layers.EthernetTypeIPv6 {
				return IPv6
			}
		case layers.LayerTypeDot1Q:
			return VLAN
		case layers.LayerTypeARP:
			kind = ARP
		case layers.LayerTypeICMPv4:
			kind = ICMP
		case layers.LayerTypeTCP:
			kind = TCP
		case layers.LayerTypeUDP:
			kind = UDP
		case layers.LayerTypeDHCPv4:
			kind = DHCP
		}
	}
	return kind
}

// dhcpType names the type of the DHCP message that was decoded last.
func (d *decoder) dhcpType() string {
	for _, option := range d.dhcp.Options {
		if option.Type == layers.DHCPOptMessageType && len(option.Data) == 1 {
			return layers.DHCPMsgType(option.Data[0]).String()
		}
	}
	return "BOOTP"
}
