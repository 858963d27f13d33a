package l2nat

// Fields of an IPv6 header (RFC 8200), in bytes.
const (
	ip6Next        = 6
	ip6Source      = 8
	ip6Destination = 24
	ip6Len         = 40
)

// Headers that may stand before ICMPv6, and itself.
const (
	hopByHop      = 0
	routing       = 43
	destinations  = 60
	protocolICMP6 = 58

	mostHeaders = 8
)

// Messages of neighbour discovery (RFC 4861, 4), and how long each is without options.
const (
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	redirect              = 137

	icmpChecksum = 2
	ndTarget     = 8 // of the last three
)

var ndLen = [...]int{8, 16, 24, 24, 40}

// Options in them that are link-layer addresses: of the sender and of the target, in units of 8 bytes.
const (
	optionSourceLink = 1
	optionTargetLink = 2
	linkUnits        = 1
)

// mostNDOptions is how many options of a message are looked at: as many as there is room for in 1500 bytes.
const mostNDOptions = 184

// ip6 is an IPv6 header with all that follows, at the start of b, or nil.
func ip6(b []byte) []byte {
	if len(b) < ip6Len || b[0]>>4 != 6 {
		return nil
	}
	return b
}

// discovery is the message of neighbour discovery in an IPv6 packet, with its options, or nil.
func discovery(ip []byte) []byte {
	next, at := ip[ip6Next], ip6Len
	for range mostHeaders {
		switch {
		case next == protocolICMP6:
			return message(ip[at:])
		case next != hopByHop && next != routing && next != destinations, len(ip) < at+2:
			return nil
		}
		next, at = ip[at], at+(int(ip[at+1])+1)*8
		if at > len(ip) {
			return nil
		}
	}
	return nil
}

func message(icmp []byte) []byte {
	if len(icmp) < 8 || icmp[0] < routerSolicitation || icmp[0] > redirect || len(icmp) < ndLen[icmp[0]-routerSolicitation] {
		return nil
	}
	return icmp
}

// eachLink calls do for the six bytes of each link-layer address among the options of a message, until
// it returns false. It returns false then, and if there are more options than it looks at.
func eachLink(m []byte, do func(link []byte) bool) bool {
	options := m[ndLen[m[0]-routerSolicitation]:]
	for range mostNDOptions {
		if len(options) < 8 || options[1] == 0 || len(options) < int(options[1])*8 {
			return true // the end, or what no one takes
		}
		if (options[0] == optionSourceLink || options[0] == optionTargetLink) && options[1] == linkUnits && !do(options[2:8]) {
			return false
		}
		options = options[int(options[1])*8:]
	}
	return len(options) < 8
}

// ip6Out is Out for IPv6.
func (t *translator) ip6Out(f *frame, station mac, undone int) verdict {
	ip := ip6(f.rest())
	if ip == nil {
		return filtered
	}
	if a := address6(ip[ip6Source:], f.vlan); a.ours() && !t.claim(a, station) {
		return spoofed
	}
	m := discovery(ip)
	if m == nil {
		return pass
	}
	if m[0] == neighborAdvertisement {
		if a := address6(m[ndTarget:], f.vlan); a.ours() && !t.claim(a, station) {
			return spoofed
		}
	}
	sum := m[icmpChecksum : icmpChecksum+2]
	if undone == len(f.b)-len(m)+icmpChecksum {
		sum = nil // it is made later
	}
	var card [6]byte
	t.card.put(card[:])
	whole := eachLink(m, func(link []byte) bool {
		if m[0] != redirect || macAt(link) == station { // who is redirected is redirected to someone else
			replace(link, card[:], sum)
		}
		return true
	})
	if !whole {
		return filtered
	}
	return pass
}

// ip6In is In for IPv6. Whoever is told of our own card must not hear it, see package.
func (t *translator) ip6In(f *frame) (to mac, v verdict) {
	ip := ip6(f.rest())
	if ip == nil {
		return 0, pass
	}
	if m := discovery(ip); m != nil && !eachLink(m, func(link []byte) bool { return macAt(link) != t.card }) {
		return 0, echo
	}
	if ip[ip6Destination] == 0xff {
		return group6(be32(ip[ip6Destination+12:])), pass
	}
	return t.owner(address6(ip[ip6Destination:], f.vlan)), pass
}
