package capture

import (
	"encoding/binary"
	"net/netip"
)

// frame is what filters know of a frame: source before destination. What it has not is -1, or the zero value.
type frame struct {
	macs      [2][6]byte
	tagged    bool
	vlan      uint16 // of the outer tag
	etherType uint16 // after tags
	addresses [2]netip.Addr
	protocol  int
	ports     [2]int
}

// dissect reads the headers of a frame, of which there is the beginning.
func dissect(b []byte) (f frame) {
	f.protocol, f.ports = -1, [2]int{-1, -1}
	if len(b) < 14 {
		return f
	}
	copy(f.macs[1][:], b)
	copy(f.macs[0][:], b[6:])
	f.etherType = binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	for (f.etherType == 0x8100 || f.etherType == 0x88a8) && len(b) >= 4 {
		if !f.tagged {
			f.tagged, f.vlan = true, binary.BigEndian.Uint16(b)&0xfff
		}
		f.etherType = binary.BigEndian.Uint16(b[2:])
		b = b[4:]
	}
	switch f.etherType {
	case 0x0806:
		f.arp(b)
	case 0x0800:
		f.ipv4(b)
	case 0x86dd:
		f.ipv6(b)
	}
	return f
}

// arp reads the addresses of a request or an answer, as pcap-filter does.
func (f *frame) arp(b []byte) {
	if len(b) >= 28 && binary.BigEndian.Uint16(b[2:]) == 0x0800 {
		f.addresses[0], _ = netip.AddrFromSlice(b[14:18])
		f.addresses[1], _ = netip.AddrFromSlice(b[24:28])
	}
}

func (f *frame) ipv4(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	f.addresses[0], _ = netip.AddrFromSlice(b[12:16])
	f.addresses[1], _ = netip.AddrFromSlice(b[16:20])
	f.protocol = int(b[9])
	header := int(b[0]&15) * 4
	if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 && header >= 20 && header <= len(b) { // the first fragment, or all
		f.transport(b[header:])
	}
}

// maxExtensions is how many extension headers are passed over.
const maxExtensions = 8

func (f *frame) ipv6(b []byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return
	}
	f.addresses[0], _ = netip.AddrFromSlice(b[8:24])
	f.addresses[1], _ = netip.AddrFromSlice(b[24:40])
	next := b[6]
	b = b[40:]
	for range maxExtensions {
		length := 0
		switch {
		case next != 0 && next != 43 && next != 44 && next != 60: // hop by hop, routing, fragment, destination
		case len(b) < 8:
			return
		case next == 44:
			if binary.BigEndian.Uint16(b[2:])&^7 != 0 { // a later fragment
				f.protocol = int(b[0])
				return
			}
			length = 8
		default:
			length = 8 + 8*int(b[1])
		}
		if length == 0 {
			break
		}
		if length > len(b) {
			return
		}
		next, b = b[0], b[length:]
	}
	f.protocol = int(next)
	f.transport(b)
}

func (f *frame) transport(b []byte) {
	if (f.protocol == 6 || f.protocol == 17) && len(b) >= 4 {
		f.ports = [2]int{int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))}
	}
}
