package packet

import "encoding/binary"

// FlowBytes is how much of a frame Flow looks at: headers of TCP over IPv6 with a VLAN tag and
// all options.
const FlowBytes = 128

// Flow is a number for the flow of a frame, by its first bytes: all of it, or FlowBytes, and an
// Ethernet header at least. It is made of addresses, protocol and ports, the same both ways,
// and no hash: its bits are where they were.
func Flow(head []byte) uint64 {
	l := Parse(head)
	le := binary.LittleEndian
	var key uint64
	switch l3 := int(l.L3); {
	case l.L4 == l.L3: // no IP
		return le.Uint64(head)<<16 ^ le.Uint64(head[6:])<<16
	case l.IPv6:
		for off := 8; off < ip6Len; off += 8 {
			key ^= le.Uint64(head[l3+off:])
		}
	default:
		key = uint64(le.Uint32(head[l3+12:]) ^ le.Uint32(head[l3+16:]))
	}
	if l.Protocol != 0 {
		key ^= FlowPorts(le.Uint32(head[l.L4:]), l.Protocol)
	}
	return key
}

// FlowPorts is what ports, as they lie in memory, and protocol add to it.
func FlowPorts(ports uint32, protocol uint8) uint64 {
	return uint64(uint16(ports)^uint16(ports>>16))<<40 ^ uint64(protocol)<<56
}
