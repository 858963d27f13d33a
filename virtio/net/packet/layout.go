package packet

import (
	"encoding/binary"
	"math"
)

// MaxHead is how many bytes of a frame Parse looks at, at most. The headers of a frame
// that is to be cut, or whose checksum is to be completed, end within them: Ethernet,
// two VLAN tags, IP and TCP with all options take 142, and a tunnel around them fits.
const MaxHead = 256

// Protocols of the transport layer, as IP numbers them.
const (
	TCP uint8 = 6
	UDP uint8 = 17
)

// Layout is where the headers of a frame lie, in bytes from its start.
type Layout struct {
	L3       uint16 // after the Ethernet header and VLAN tags
	L4       uint16 // after the IP header and its extensions; L3 if it is not IP or broken
	End      uint16 // after the TCP or UDP header; 0 unless Protocol is set
	Protocol uint8  // TCP or UDP, whole and not a fragment; or 0
	IPv6     bool
}

// Fields and sizes of headers, in bytes.
const (
	etherLen  = 14
	etherType = 12
	tagLen    = 4

	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
	typeTag  = 0x8100 // 802.1Q
	typeTags = 0x88a8 // 802.1ad

	ip4Len      = 20
	ip4Total    = 2
	ip4ID       = 4
	ip4Fragment = 6
	ip4Protocol = 9
	ip4Checksum = 10

	ip6Len     = 40
	ip6Payload = 4
	ip6Next    = 6

	tcpLen      = 20
	tcpSequence = 4
	tcpOffset   = 12
	tcpFlags    = 13
	tcpChecksum = 16

	udpLen      = 8
	udpLength   = 4
	udpChecksum = 6
)

// Extension headers of IPv6 that are no payload yet.
const (
	hopByHop    = 0
	routing     = 43
	destination = 60
)

// Parse finds the headers in the first bytes of a frame: all of it, or MaxHead bytes.
// What it does not know or finds broken ends the search.
func Parse(head []byte) Layout {
	if len(head) < etherLen {
		return Layout{}
	}
	at, kind := etherLen, be16(head[etherType:])
	for tags := 0; tags < 2 && (kind == typeTag || kind == typeTags) && len(head) >= at+tagLen; tags++ {
		kind = be16(head[at+2:])
		at += tagLen
	}
	l := Layout{L3: uint16(at), L4: uint16(at)}
	switch kind {
	case typeIPv4:
		l.ip4(head)
	case typeIPv6:
		l.ip6(head)
	}
	return l
}

func (l *Layout) ip4(head []byte) {
	ip := head[l.L3:]
	if len(ip) < ip4Len || ip[0]>>4 != 4 {
		return
	}
	n := int(ip[0]&0xf) * 4
	if n < ip4Len || n > len(ip) {
		return
	}
	l.L4 += uint16(n)
	if be16(ip[ip4Fragment:])&0x3fff == 0 { // no fragment, neither first nor later
		l.transport(ip[n:], ip[ip4Protocol])
	}
}

func (l *Layout) ip6(head []byte) {
	ip := head[l.L3:]
	if len(ip) < ip6Len || ip[0]>>4 != 6 {
		return
	}
	l.IPv6 = true
	next, n := ip[ip6Next], ip6Len
	for next == hopByHop || next == routing || next == destination {
		if len(ip) < n+2 {
			break
		}
		size := (int(ip[n+1]) + 1) * 8
		if len(ip) < n+size {
			break
		}
		next, n = ip[n], n+size
	}
	l.L4 += uint16(n)
	l.transport(ip[n:], next)
}

// transport looks at the header of the transport layer, at the start of b.
func (l *Layout) transport(b []byte, protocol uint8) {
	n := 0
	switch protocol {
	case UDP:
		n = udpLen
	case TCP:
		if len(b) >= tcpLen {
			n = int(b[tcpOffset]>>4) * 4
		}
		if n < tcpLen {
			return
		}
	default:
		return
	}
	if n <= len(b) {
		l.Protocol, l.End = protocol, l.L4+uint16(n)
	}
}

// ChecksumOffset is where the checksum lies in the header of the transport layer.
// Only if Protocol is set.
func (l *Layout) ChecksumOffset() uint16 {
	if l.Protocol == TCP {
		return tcpChecksum
	}
	return udpChecksum
}

// MaxPayload is how many bytes of payload a packet with these headers can have at most:
// its length fields have 16 bits, that of IPv4 counts all headers from its own on, that of
// IPv6 those after its own, and that of UDP itself. Only if Protocol is set.
func (l *Layout) MaxPayload() int {
	counted := int(l.End - l.L3)
	if l.IPv6 {
		counted -= ip6Len
	}
	return math.MaxUint16 - counted
}

func be16(b []byte) uint16       { return binary.BigEndian.Uint16(b) }
func put16(b []byte, v uint16)   { binary.BigEndian.PutUint16(b, v) }
func be32(b []byte) uint32       { return binary.BigEndian.Uint32(b) }
func put32(b []byte, v uint32)   { binary.BigEndian.PutUint32(b, v) }
func store16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }
