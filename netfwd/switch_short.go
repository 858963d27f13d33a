package netfwd

import (
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// serveShort is serve for plain frames that go to one port, all to the same: the run of
// such frames at the head of what src has. It reports whether it served any, and if not,
// whether there may be something for the long way.
func (b *bridge) serveShort(source int, src plainPort) (served, other bool) {
	burst := &b.burst
	n, other := src.ReadPlain(burst)
	if n == 0 {
		return false, other
	}
	n, target := b.run(source, n)
	if n == 0 {
		return false, true
	}
	q := b.queueAt(target)
	dst, ok := q.(plainPort)
	if !ok {
		return false, true
	}
	b.target = q
	m, other := dst.WritePlain(burst, n)
	switch {
	case m > 0:
		n = m // what is left has its turn later
		burst.Copy(n)
		dst.FinishWrite(burst, n)
	case other:
		b.target = nil
		return false, true
	default:
		burst.Skip(n)
		q.Counters().Drops[virtionet.DropNoRoom] += uint64(n)
	}
	b.target = nil
	src.FinishRead(burst, n)
	b.ports[source].charge(n)
	return true, false
}

// run finds how many of the first n frames of the burst go to one and the same port, and
// to which, and fixes their addresses. It drops none: what is to be dropped, or to go to
// several, ends the run.
func (b *bridge) run(source, n int) (length, target int) {
	p := &b.ports[source]
	target = noPort
	last, version := noStation, b.macs.version
	for i := range n {
		d, s := b.burst.Addresses(i) // each byte is read once
		dst, src := mac(d), mac(s)
		if (src != p.last || b.macs.version != p.version) && !b.allows(source, src) {
			return i, target
		}
		if dst != last || version != b.macs.version {
			to, flood := b.route(source, dst)
			if flood || bits.OnesCount64(uint64(to)) != 1 {
				return i, target
			}
			port := bits.TrailingZeros64(uint64(to))
			if i > 0 && port != target {
				return i, target
			}
			target, last, version = port, dst, b.macs.version
		}
		if !p.uplink {
			b.burst.SetAddresses(i, d, s)
		}
	}
	return n, target
}
