package loopbacktest

import (
	"encoding/binary"
	"slices"

	virtionet "vvufwd/virtio/net"
)

// burst is how many frames one round moves, at most.
const burst = 64

// sequenceAt is where a frame of vvugen has its number.
const sequenceAt = 48

// round moves frames in all directions and reports whether there were any.
func (b *Backend) round() bool {
	switch b.cfg.Mode {
	case Discard:
		return b.pump(b.sides[0], nil)
	case Source:
		return b.emit(b.sides[0])
	case Idle:
		return false
	}
	if len(b.sides) != 2 {
		return false
	}
	there, back := b.pump(b.sides[0], b.sides[1]), b.pump(b.sides[1], b.sides[0])
	return there || back
}

// pump moves a burst from one side's transmit ring to the other's receive ring;
// to nowhere if there is no other.
func (b *Backend) pump(from, to *side) bool {
	tx := from.rings[1]
	if tx == nil || to != nil && to.rings[0] == nil {
		return false
	}
	chains := b.chains[:0]
	for tx.Available(); len(chains) < burst && tx.Pop(&b.chain); {
		chains = append(chains, b.chain)
	}
	for i := range chains {
		if to == nil {
			break
		}
		b.packet = b.packet[:0]
		for _, view := range chains[i].Read {
			b.packet = append(b.packet, view...)
		}
		b.carry(b.packet, from == b.sides[0], to)
	}
	b.chains = chains
	if b.cfg.Shuffle {
		slices.Reverse(chains)
	}
	for i := range chains {
		tx.Push(chains[i].Head, 0)
	}
	tx.Publish()
	tx.ResetViews()
	return len(chains) > 0
}

// carry delivers a packet, header included, as the configuration says.
func (b *Backend) carry(packet []byte, tampered bool, to *side) {
	action := Deliver
	if tampered && b.cfg.Tamper != nil {
		action = b.cfg.Tamper(binary.LittleEndian.Uint64(packet[virtionet.HeaderLen+sequenceAt:]))
	}
	frame := packet[virtionet.HeaderLen:]
	switch action {
	case Drop:
		return
	case Duplicate:
		to.enqueue(packet, true, b.cfg.Shuffle)
	case Delay:
		b.held = append(b.held[:0], packet...)
		return
	case Corrupt:
		packet[len(packet)-1] ^= 0x40
	case Restamp:
		frame[sequenceAt] ^= 1
	case Truncate:
		packet = packet[:len(packet)-1]
	case Reheader:
		frame[0] ^= 2
	}
	to.enqueue(packet, action != BadHeader, b.cfg.Shuffle)
	if len(b.held) > 0 && tampered {
		to.enqueue(b.held, true, b.cfg.Shuffle)
		b.held = b.held[:0]
	}
}

// emit fills a side's receive ring with frames.
func (b *Backend) emit(to *side) bool {
	if to.rings[0] == nil {
		return false
	}
	b.packet = append(b.packet[:0], make([]byte, virtionet.HeaderLen+64)...)
	for range burst {
		if !to.enqueue(b.packet, true, false) {
			return false
		}
	}
	return true
}

// enqueue puts a packet into the receive ring, over several buffers if they are
// mergeable, or drops it and returns false if there is no room. valid says
// whether to tell the truth about their number. With shuffle, buffers are used
// pairwise in the wrong order.
func (s *side) enqueue(packet []byte, valid, shuffle bool) bool {
	rx := s.rings[0]
	rx.Available()
	defer rx.ResetViews()
	chains := s.chains[:0]
	c := &s.chain
	room := 0
	for room < len(packet) {
		switch {
		case shuffle && s.spare != nil:
			*c, s.spare = *s.spare, nil
		case len(chains) > 0 && !s.mergeable() || !rx.Pop(c):
			rx.Unpop(len(chains))
			return false
		case shuffle && rx.Pending() > 0:
			spare := *c
			spare.Write = slices.Clone(c.Write) // outlives ResetViews
			s.spare = &spare
			rx.Pop(c)
		}
		chains = append(chains, *c)
		room += int(c.WriteLen)
	}
	s.chains = chains
	clear(packet[:virtionet.HeaderLen])
	if valid {
		binary.LittleEndian.PutUint16(packet[10:], uint16(len(chains)))
	}
	for _, c := range chains {
		n := scatter(c.Write, packet)
		packet = packet[n:]
		rx.Push(c.Head, uint32(n))
	}
	rx.Publish()
	return true
}

// scatter copies as much of packet as fits.
func scatter(views [][]byte, packet []byte) int {
	done := 0
	for _, v := range views {
		done += copy(v, packet[done:])
	}
	return done
}
