package packet

// Segment writes to dst the headers of one piece of a large segment and returns them.
// head are the headers of the whole, parsed as l with a Protocol; dst has room for
// l.End bytes and is other memory. The piece carries n bytes of payload that begin at
// offset off of the whole's total.
//
// Lengths, IPv4 identification and checksum, TCP sequence number and flags are those of
// the piece. The checksum of the transport layer is left for Complete: its field holds
// the sum of the pseudo header, which is the whole's, corrected by the difference in
// length. So it is right also for packets with a routing header, whose last destination
// does not stand in the IPv6 header.
//
// index is how many pieces came before. off+n is at most total, and n at most
// l.MaxPayload().
func Segment(dst, head []byte, l Layout, index, off, n, total int) []byte {
	dst = dst[:l.End]
	copy(dst, head)
	ip, transport := dst[l.L3:], dst[l.L4:]
	if l.IPv6 {
		put16(ip[ip6Payload:], uint16(int(l.End-l.L3)-ip6Len+n))
	} else {
		put16(ip[ip4Total:], uint16(int(l.End-l.L3)+n))
		put16(ip[ip4ID:], be16(ip[ip4ID:])+uint16(index))
		put16(ip[ip4Checksum:], 0)
		var s Sum
		s.Add(dst[l.L3:l.L4])
		store16(ip[ip4Checksum:], ^s.Fold())
	}
	header := int(l.End - l.L4)
	if l.Protocol == TCP {
		put32(transport[tcpSequence:], be32(transport[tcpSequence:])+uint32(off))
		if off > 0 {
			transport[tcpFlags] &^= flagCWR
		}
		if off+n < total {
			transport[tcpFlags] &^= flagFIN | flagPSH
		}
	} else {
		put16(transport[udpLength:], uint16(header+n))
	}
	field := transport[l.ChecksumOffset():]
	put16(field, fold(uint64(be16(field))+uint64(^uint16(header+total))+uint64(header+n)))
	return dst
}

// Flags of TCP that do not stand in every piece.
const (
	flagFIN = 0x01
	flagPSH = 0x08
	flagCWR = 0x80
)

// Complete stores the checksum into its field: head[field:], given the sum s of
// everything that it covers, the field as it is included. A sum that comes out as zero is
// stored as its other form, because a UDP packet with zero has no checksum.
func Complete(head []byte, field int, s *Sum) {
	v := ^s.Fold()
	if v == 0 {
		v = 0xffff
	}
	store16(head[field:], v)
}
