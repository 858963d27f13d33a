package l2nat

import "bytes"

// Fields of an ARP packet for Ethernet and IPv4 (RFC 826), in bytes.
const (
	arpSenderHW = 8
	arpSender   = 14
	arpTargetHW = 18
	arpTarget   = 24
	arpLen      = 28
)

// arpStart is what such a packet begins with: kinds and lengths of addresses.
var arpStart = []byte{0, 1, 8, 0, 6, 4}

// arp is such a packet at the start of b, or nil.
func arp(b []byte) []byte {
	if len(b) < arpLen || !bytes.HasPrefix(b, arpStart) {
		return nil
	}
	return b[:arpLen]
}

// arpOut is Out for ARP and RARP. A station that looks whether anybody has its address yet
// (RFC 5227) says none of its own.
func (t *translator) arpOut(f *frame, station mac) verdict {
	p := arp(f.rest())
	if p == nil {
		return filtered
	}
	if a := address4(p[arpSender:], f.vlan); a.ours() && !t.claim(a, station) {
		return spoofed
	}
	t.card.put(p[arpSenderHW:])
	if macAt(p[arpTargetHW:]) == station { // as in some announcements
		t.card.put(p[arpTargetHW:])
	}
	return pass
}

// arpIn is In for ARP. Whoever is told of our own card must not hear it, see package.
func (t *translator) arpIn(f *frame) (to mac, v verdict) {
	p := arp(f.rest())
	if p == nil {
		return 0, pass
	}
	if macAt(p[arpSenderHW:]) == t.card {
		return 0, echo
	}
	to = t.owner(address4(p[arpTarget:], f.vlan))
	if to != 0 && macAt(p[arpTargetHW:]) == t.card {
		to.put(p[arpTargetHW:])
	}
	return to, pass
}
