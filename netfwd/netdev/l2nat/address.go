package l2nat

import "encoding/binary"

// mac is an Ethernet address in the low 48 bits, its first byte highest. Zero is no
// station's.
type mac uint64

// macAt reads the address at the start of b.
func macAt(b []byte) mac {
	return mac(binary.BigEndian.Uint32(b))<<16 | mac(binary.BigEndian.Uint16(b[4:]))
}

// put writes it to the start of b.
func (a mac) put(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(a>>16))
	binary.BigEndian.PutUint16(b[4:], uint16(a))
}

// isGroup reports whether a is a multicast or the broadcast address.
func (a mac) isGroup() bool { return a>>40&1 != 0 }

// broadcast is everyone's.
const broadcast mac = 1<<48 - 1

// group4 and group6 are the Ethernet addresses of IP's groups (RFC 1112, 6.4; RFC 2464, 7).
func group4(ip uint32) mac   { return 0x01005e<<24 | mac(ip&0x7fffff) }
func group6(last uint32) mac { return 0x3333<<32 | mac(last) }

// address is an IP address in a VLAN.
type address struct {
	high, low uint64
	place     uint32 // the VLAN, see frame, and ipv4
}

// ipv4 tells addresses of IPv4, in low, from those of IPv6.
const ipv4 = 1 << 31

// address4 and address6 read the address at the start of b.
func address4(b []byte, vlan uint32) address {
	return address{low: uint64(binary.BigEndian.Uint32(b)), place: vlan | ipv4}
}

func address6(b []byte, vlan uint32) address {
	return address{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), vlan}
}

// ours reports whether a station can have the address: it is neither unspecified nor a
// group's, the broadcast or a loopback address.
func (a address) ours() bool {
	if a.place&ipv4 != 0 {
		first := a.low >> 24
		return first != 0 && first != 127 && first < 224
	}
	return a.high>>56 != 0xff && (a.high != 0 || a.low > 1)
}

// words are for a hash table.
func (a address) words() (uint64, uint64) {
	return a.high ^ uint64(a.place)*goldenRatio, a.low
}
