package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vvufwd/cmd/internal/lab/dhcp"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// bootServer is a network with all that a machine asks for which boots from it: ARP, DHCP, TFTP and ICMP echo. It is a front-end of
// vvufwd's.
type bootServer struct {
	app    *vvutest.App
	mac    net.HardwareAddr
	lease  dhcp.Lease
	files  map[string][]byte
	served map[string]bool // files that were fetched as a whole

	transfers map[uint16]*transfer // by the server's port
	end       atomic.Bool
	done      chan error
}

// transfer is a file on its way (RFC 1350), whose blocks may be larger (RFC 2348).
type transfer struct {
	name  string
	data  []byte
	block int
}

// TFTP's opcodes, and the port where requests come in.
const (
	tftpRead, tftpData, tftpAck, tftpError, tftpOptions = 1, 3, 4, 5, 6
	tftpPort                                            = 69
	firstPort                                           = 20000
)

// bootServer joins the socket at path.
func (l *lab) bootServer(path string, files map[string][]byte) *bootServer {
	l.Helper()
	app, err := vvutest.Boot(vvutest.NewRAM(l.whole), path, vvutest.AppConfig{Style: vhostuser.QEMU, Entries: 128})
	l.must(err)
	l.must(app.Connect())
	l.must(app.Start())
	s := &bootServer{
		app: app, mac: net.HardwareAddr{0x52, 0x54, 0, 0, 2, 1}, files: files, served: map[string]bool{}, transfers: map[uint16]*transfer{},
		lease: dhcp.Lease{Server: net.IP{10, 0, 0, 1}, Client: net.IP{10, 0, 0, 2}, Mask: net.CIDRMask(24, 32), Time: time.Hour},
		done:  make(chan error, 1),
	}
	go func() { s.done <- s.serve() }()
	return s
}

// stop ends it and returns what went wrong.
func (s *bootServer) stop() error {
	s.end.Store(true)
	err := <-s.done
	s.app.Halt()
	return err
}

func (s *bootServer) serve() error {
	for !s.end.Load() {
		if s.app.Taken(0) == s.app.Done(0) {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		frame, err := s.app.Receive()
		if err != nil {
			return err
		}
		for _, answer := range s.answers(gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)) {
			if err := s.app.Send(answer); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *bootServer) answers(p gopacket.Packet) [][]byte {
	eth, ok := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !ok {
		return nil
	}
	back := &layers.Ethernet{SrcMAC: s.mac, DstMAC: eth.SrcMAC, EthernetType: eth.EthernetType}
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		if arp.Operation != layers.ARPRequest || !bytes.Equal(arp.DstProtAddress, s.lease.Server.To4()) {
			return nil
		}
		return [][]byte{frameOf(back, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
			SourceHwAddress: s.mac, SourceProtAddress: s.lease.Server.To4(),
			DstHwAddress: arp.SourceHwAddress, DstProtAddress: arp.SourceProtAddress,
		})}
	}
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		return nil
	}
	backIP := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: ip.Protocol, SrcIP: s.lease.Server, DstIP: ip.SrcIP}
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest {
		echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0), Id: icmp.Id, Seq: icmp.Seq}
		return [][]byte{frameOf(back, backIP, echo, gopacket.Payload(icmp.Payload))}
	}
	udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !ok {
		return nil
	}
	var answer []byte
	backUDP := &layers.UDP{SrcPort: udp.DstPort, DstPort: udp.SrcPort}
	switch port := uint16(udp.DstPort); {
	case port == 67:
		lease := s.lease
		lease.BootFile = "first.efi"
		if bytes.Contains(udp.Payload, []byte("iPXE")) { // its user class
			lease.BootFile = "boot.ipxe"
		}
		answer, _ = lease.Answer(udp.Payload)
		back.DstMAC, backIP.DstIP = layers.EthernetBroadcast, net.IPv4bcast
	case port == tftpPort:
		backUDP.SrcPort = layers.UDPPort(firstPort + len(s.transfers))
		answer = s.open(uint16(backUDP.SrcPort), udp.Payload)
	default:
		answer = s.goOn(port, udp.Payload)
	}
	if answer == nil {
		return nil
	}
	if err := backUDP.SetNetworkLayerForChecksum(backIP); err != nil {
		return nil
	}
	return [][]byte{frameOf(back, backIP, backUDP, gopacket.Payload(answer))}
}

// open answers a request for a file.
func (s *bootServer) open(port uint16, request []byte) []byte {
	if len(request) < 2 || binary.BigEndian.Uint16(request) != tftpRead {
		return nil
	}
	words := bytes.Split(request[2:], []byte{0})
	t := &transfer{name: string(bytes.TrimLeft(words[0], "/")), block: 512}
	s.transfers[port] = t
	var known bool
	if t.data, known = s.files[t.name]; !known {
		return append([]byte{0, tftpError, 0, 1}, "no such file\x00"...)
	}
	accepted := []byte{0, tftpOptions}
	for i := 2; i+1 < len(words); i += 2 {
		value := string(words[i+1])
		switch name := string(bytes.ToLower(words[i])); name {
		case "blksize":
			if n, err := strconv.Atoi(value); err == nil {
				t.block = min(n, 1428)
			}
			accepted = fmt.Appendf(accepted, "blksize\x00%d\x00", t.block)
		case "tsize":
			accepted = fmt.Appendf(accepted, "tsize\x00%d\x00", len(t.data))
		}
	}
	if len(accepted) > 2 {
		return accepted
	}
	return t.piece(1)
}

// goOn answers an acknowledgement with the next block.
func (s *bootServer) goOn(port uint16, message []byte) []byte {
	t := s.transfers[port]
	if t == nil || len(message) != 4 || binary.BigEndian.Uint16(message) != tftpAck {
		return nil
	}
	n := int(binary.BigEndian.Uint16(message[2:]))
	if n*t.block > len(t.data) {
		s.served[t.name] = true
		return nil
	}
	return t.piece(n + 1)
}

// piece is block n, counted from 1. The last one is not full.
func (t *transfer) piece(n int) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0, tftpData}, uint16(n))
	return append(head, t.data[(n-1)*t.block:min(n*t.block, len(t.data))]...)
}

// frameOf puts layers into a frame, which its serializers cannot refuse.
func frameOf(parts ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err)
	}
	return b.Bytes()
}
