package netfwd

import (
	"encoding/binary"
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// serve moves one burst of a port, of that of its queue pairs whose turn it is, and
// reports whether there was one. Queue pairs that have nothing are passed over, but one
// with nothing but rubbish has had its port's turn: looking at that takes as long.
func (b *bridge) serve(source int) bool {
	p := &b.ports[source]
	n, several, before := 0, len(p.busy) > 1, uint64(0)
	for range p.busy {
		if p.turn++; p.turn >= len(p.busy) {
			p.turn = 0
		}
		b.pair = p.busy[p.turn]
		b.source = p.queues[b.pair]
		if short := p.short[b.pair]; short != nil {
			if served, other := b.serveShort(source, short); served {
				return true
			} else if !other {
				continue
			}
		}
		if several {
			before = b.source.Counters().Dropped()
		}
		if n = b.source.RxBurst(b.frames[:]); n > 0 || several && b.source.Counters().Dropped() != before {
			break
		}
	}
	if n == 0 {
		return false
	}
	union, common := b.classify(source, n)
	if union&(union-1) == 0 && union == common && union != 0 {
		b.send(bits.TrailingZeros64(uint64(union)), b.frames[:n]) // nearly always
		p.charge(n)
	} else {
		p.charge(b.scatter(union, n))
	}
	b.source.Release(n)
	return true
}

// classify finds where each of the first n frames goes, and returns the ports that
// any of them goes to and those that all do.
func (b *bridge) classify(source, n int) (union, common portSet) {
	b.views = b.views[:0]
	p := &b.ports[source]
	common = ^portSet(0)
	// Frames come in trains: what was found for one often holds for the next.
	var to portSet
	var flood bool
	last, version := noStation, b.macs.version
	for i := range n {
		f := &b.frames[i]
		first := f.Data[0]
		if len(first) < virtionet.MinFrame {
			first = b.begin(i, f.Data)
		}
		dst, src := addresses(first) // each byte is read once
		if !p.uplink && !f.Own() {
			b.detach(i, dst, src)
		}
		if (src != p.last || b.macs.version != p.version) && !b.admit(source, src) {
			b.to[i], common = 0, 0
			continue
		}
		if dst != last || version != b.macs.version {
			to, flood = b.route(source, dst)
			last, version = dst, b.macs.version
		}
		if to == 0 {
			b.source.Counters().Drops[virtionet.DropFiltered]++
		} else if flood {
			b.floods++
		}
		b.to[i] = to
		union |= to
		common &= to
	}
	return union, common
}

// addresses reads a frame's addresses from its first bytes.
func addresses(b []byte) (dst, src mac) {
	_ = b[virtionet.MinFrame-1]
	return mac(binary.LittleEndian.Uint64(b)) & macBits, mac(binary.LittleEndian.Uint64(b[6:])) & macBits
}

// begin gathers the first bytes of frame i, whose first piece has too few of them.
func (b *bridge) begin(i int, pieces [][]byte) []byte {
	to := b.heads[i][:]
	for _, piece := range pieces {
		to = to[copy(to, piece):]
	}
	return b.heads[i][:]
}

// detach makes frame i begin with addresses in memory of ours.
func (b *bridge) detach(i int, dst, src mac) {
	head := &b.heads[i]
	binary.LittleEndian.PutUint64(head[:], uint64(dst)|uint64(src)<<48)
	binary.LittleEndian.PutUint32(head[8:], uint32(src>>16))
	f := &b.frames[i]
	if len(f.Data) == 1 {
		b.halves[i][1] = f.Data[0][virtionet.AddressBytes:]
		f.Data = b.halves[i][:]
		return
	}
	b.views = f.ReplaceStart(head[:virtionet.AddressBytes], b.views)
}

// admit notes where src is and reports whether the port may use it; if not, the
// frame is counted as dropped.
func (b *bridge) admit(source int, src mac) bool {
	allowed := b.allows(source, src)
	if !allowed {
		b.source.Counters().Drops[virtionet.DropSpoofed]++
	}
	return allowed
}

// allows notes where src is and reports whether the port may use it.
func (b *bridge) allows(source int, src mac) bool {
	p := &b.ports[source]
	allowed := src == p.own
	if p.own == 0 {
		allowed = src != 0 && !src.isGroup() && b.macs.learn(src, source)
	}
	if allowed {
		p.last, p.version = src, b.macs.version
	}
	return allowed
}

// route is the set of ports to which a frame for dst goes: none, if it must not go
// anywhere. A flood is a frame for all that can be reached.
func (b *bridge) route(source int, dst mac) (to portSet, flood bool) {
	reach := b.ports[source].reach
	if dst.isGroup() {
		if dst.isReserved() {
			return 0, false
		}
		return reach, true
	}
	if port := b.macs.lookup(dst); port != noPort {
		return reach & (1 << port), false // never its own, nor one that isolation forbids
	}
	return reach, true
}

// scatter sends the first n frames to where each goes, and returns how many copies
// that took.
func (b *bridge) scatter(union portSet, n int) (copies int) {
	for ; union != 0; union &= union - 1 {
		port := bits.TrailingZeros64(uint64(union))
		k := 0
		for i := range n {
			if b.to[i]&(1<<port) != 0 {
				b.some[k] = b.frames[i] // a copy each: a port may change it
				k++
			}
		}
		b.send(port, b.some[:k])
		copies += k
	}
	return max(copies, n)
}

// send gives frames to a port, which drops those that it has no room for.
func (b *bridge) send(port int, frames []virtionet.Frame) {
	q := b.queueAt(port)
	b.target = q
	for range sendTries {
		done := q.TxBurst(frames)
		if frames = frames[done:]; done == 0 || len(frames) == 0 {
			break
		}
	}
	q.Counters().Drops[virtionet.DropNoRoom] += uint64(len(frames))
	b.target = nil
}

// queueAt is the queue pair of a port to which what is at work goes.
func (b *bridge) queueAt(port int) Port {
	active := b.ports[port].active
	return active[b.pair%len(active)]
}

// sendTries is how often a port is asked that takes some frames but not all. It may
// have room and only bound its work, as it does when frames take many buffers each;
// so does this.
const sendTries = 4
