package virtionet

import "vvufwd/virtio/net/packet"

// Flow is a number for the flow of frame i, see packet.Flow. What its sender puts there, or
// changes after the look, only makes it another flow.
func (b *Burst) Flow(i int) uint64 {
	if !b.general {
		at, n := b.Ops[i].Src, b.Ops[i].N
		switch bit := uint64(1) << i; {
		case b.undone&bit != 0:
			from, k := b.at(i)
			head := from.starts[k].head[:]
			at, n = AddressOf(head), min(n, uint32(len(head)))
		case b.spread&bit != 0:
			from, k := b.at(i)
			n = from.From.Of(k)[0].N
		}
		if key, ok := flowOf(at, n); ok {
			return key
		}
	}
	var head [packet.FlowBytes]byte // a copy, which stays as it is
	return packet.Flow(head[:b.Head(i, head[:])])
}

// flowOf is packet.Flow for a frame of which the first n bytes lie at an address, if it is one
// of the usual kinds: TCP or UDP without options of IP or tags, or no IP at all. Each byte
// that decides something is read once.
func flowOf(at uint64, n uint32) (key uint64, ok bool) {
	const (
		ipv4, ipv6, tag, tags = 0x0008, 0xdd86, 0x0081, 0xa888 // types as they lie in memory
		noOptions             = 0x45                           // IPv4, and a header of 20 bytes
	)
	if n < 58 { // up to the ports, with IPv6
		return 0, false
	}
	word := load32(at + 12)
	switch uint16(word) {
	case ipv4:
		rest := load32(at + 20) // fragment, time to live, protocol
		protocol := uint8(rest >> 24)
		if uint8(word>>16) != noOptions || rest&0xff3f != 0 || protocol != packet.TCP && protocol != packet.UDP {
			return 0, false
		}
		addresses := load64(at + 26)
		return uint64(uint32(addresses)^uint32(addresses>>32)) ^ packet.FlowPorts(load32(at+34), protocol), true
	case ipv6:
		protocol := uint8(load16(at + 20))
		if word>>20&0xf != 6 || protocol != packet.TCP && protocol != packet.UDP {
			return 0, false
		}
		key = load64(at+22) ^ load64(at+30) ^ load64(at+38) ^ load64(at+46)
		return key ^ packet.FlowPorts(load32(at+54), protocol), true
	case tag, tags:
		return 0, false
	}
	return load64(at)<<16 ^ load64(at+6)<<16, true
}
