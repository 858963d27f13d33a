package l2nat

// Fields of an IPv4 header (RFC 791), in bytes.
const (
	ip4Fragment    = 6
	ip4Protocol    = 9
	ip4Source      = 12
	ip4Destination = 16
	ip4Len         = 20

	fragmentMask = 0x3fff // offset, and that more come
)

// Fields of a UDP header, in bytes.
const (
	udpDestination = 2
	udpChecksum    = 6
	udpLen         = 8

	protocolUDP = 17
)

// ip4 is an IPv4 header with all that follows, at the start of b, or nil.
func ip4(b []byte) []byte {
	if len(b) < ip4Len || b[0]>>4 != 4 || b[0]&0xf < ip4Len/4 || len(b) < int(b[0]&0xf)*4 {
		return nil
	}
	return b
}

// udp is the UDP packet in an IPv4 one, if that is no fragment, or nil.
func udp(ip []byte) []byte {
	if ip[ip4Protocol] != protocolUDP || be16(ip[ip4Fragment:])&fragmentMask != 0 {
		return nil
	}
	b := ip[int(ip[0]&0xf)*4:]
	if len(b) < udpLen {
		return nil
	}
	return b
}

// ip4Out is Out for IPv4.
func (t *translator) ip4Out(f *frame, station mac, undone int) verdict {
	ip := ip4(f.rest())
	if ip == nil {
		return filtered
	}
	if a := address4(ip[ip4Source:], f.vlan); a.ours() && !t.claim(a, station) {
		return spoofed
	}
	if u := udp(ip); u != nil && be16(u[udpDestination:]) == dhcpServer {
		t.dhcpOut(f, u, station, undone)
	}
	return pass
}

// ip4In is In for IPv4.
func (t *translator) ip4In(f *frame) (to mac, v verdict) {
	ip := ip4(f.rest())
	if ip == nil {
		return 0, pass
	}
	if u := udp(ip); u != nil && be16(u[udpDestination:]) == dhcpClient {
		if to = t.dhcpIn(f, u); to != 0 {
			return to, pass
		}
	}
	switch to := be32(ip[ip4Destination:]); {
	case to == 0xffffffff:
		return broadcast, pass
	case to>>28 == 0xe:
		return group4(to), pass
	}
	return t.owner(address4(ip[ip4Destination:], f.vlan)), pass
}
