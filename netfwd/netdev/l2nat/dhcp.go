package l2nat

// Ports of DHCP (RFC 2131).
const (
	dhcpServer = 67
	dhcpClient = 68
)

// Fields of a DHCP message (RFC 2131, 2), in bytes.
const (
	dhcpOp        = 0
	dhcpKinds     = 1 // htype and hlen
	dhcpXID       = 4
	dhcpFlags     = 10
	dhcpYours     = 16
	dhcpHardware  = 28
	dhcpCookie    = 236
	dhcpOptions   = 240
	dhcpRequest   = 1 // op, of clients
	dhcpReply     = 2 // op, of servers
	dhcpEthernet  = 0x0106
	dhcpMagic     = 0x63825363
	dhcpBroadcast = 0x80 // in the first byte of flags
)

// Options (RFC 2132).
const (
	optionPad  = 0
	optionType = 53
	optionEnd  = 255
	typeACK    = 5

	mostOptions = 312 // bytes
)

// dhcp is the DHCP message in a UDP packet, or nil.
func dhcp(udp []byte, op byte) []byte {
	b := udp[udpLen:]
	if len(b) < dhcpOptions || b[dhcpOp] != op || be16(b[dhcpKinds:]) != dhcpEthernet || be32(b[dhcpCookie:]) != dhcpMagic {
		return nil
	}
	return b
}

// dhcpOut makes a client's message one whose answer is sent to everyone, and remembers whose it is.
func (t *translator) dhcpOut(f *frame, udp []byte, station mac, undone int) {
	m := dhcp(udp, dhcpRequest)
	if m == nil {
		return
	}
	t.dealings.note(dealing{be32(m[dhcpXID:]), macAt(m[dhcpHardware:]), f.vlan, station}, t.table.now)
	flags := [2]byte{m[dhcpFlags] | dhcpBroadcast, m[dhcpFlags+1]}
	sum := udp[udpChecksum : udpChecksum+2]
	if be16(sum) == 0 || undone == len(f.b)-len(udp)+udpChecksum {
		sum = nil // there is none, or it is made later
	}
	replace(m[dhcpFlags:], flags[:], sum)
	if sum != nil && be16(sum) == 0 {
		put16(sum, 0xffff) // zero stands for none (RFC 768)
	}
}

// dhcpIn finds out for whom a server's message is. If it gives an address away, that is learned.
func (t *translator) dhcpIn(f *frame, udp []byte) (to mac) {
	m := dhcp(udp, dhcpReply)
	if m == nil {
		return 0
	}
	to = t.dealings.find(be32(m[dhcpXID:]), macAt(m[dhcpHardware:]), f.vlan, t.table.now)
	if to == 0 {
		return 0
	}
	if a := address4(m[dhcpYours:], f.vlan); a.ours() && dhcpType(m[dhcpOptions:]) == typeACK {
		t.table.claim(a, to, true)
	}
	return to
}

// dhcpType is the type of message that the options say, of which as many are looked at as a
// client must take (RFC 2131, 2), or 0.
func dhcpType(options []byte) byte {
	options = options[:min(len(options), mostOptions)]
	for len(options) >= 2 && options[0] != optionEnd {
		if options[0] == optionPad {
			options = options[1:]
			continue
		}
		n := 2 + int(options[1])
		if len(options) < n {
			return 0
		}
		if options[0] == optionType && n == 3 {
			return options[2]
		}
		options = options[n:]
	}
	return 0
}
