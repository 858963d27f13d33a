package netfwd

import (
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// step takes a burst from each port.
func (s *Switch) step() bool {
	worked := false
	for i := range s.ports {
		p := &s.ports[i]
		for _, k := range p.busy {
			if q := p.queues[k]; q.Changed() {
				s.sync(i, q)
				break // busy is another one now; more of them can wait for the next round
			}
		}
		if p.debt > 0 && !p.settle() {
			continue
		}
		worked = s.serve(i) || worked
	}
	for i := range s.ports {
		p := &s.ports[i]
		for _, k := range p.busy {
			s.source = p.queues[k]
			s.source.Notify()
		}
	}
	return worked
}

// serve moves one burst of a port, of that of its queue pairs whose turn it is, and
// reports whether there was one. Queue pairs that have nothing are passed over, but one
// with nothing but frames to be dropped has had its port's turn: looking at those takes as long.
func (s *Switch) serve(source int) (worked bool) {
	p := &s.ports[source]
	for range p.busy {
		s.pair = p.busy[p.turn.next(len(p.busy))]
		s.source = p.queues[s.pair]
		if worked = s.source.Receive(&s.burst); worked {
			break
		}
	}
	if !worked || s.burst.Len() == 0 {
		return worked
	}
	s.burst.Recorder = nil // one port can be told of frames, not some
	n := s.burst.Len()
	s.held = true
	union, common := s.classify(source)
	if union&(union-1) == 0 && union == common && union != 0 {
		p.charge(s.send(bits.TrailingZeros64(uint64(union)), &s.burst)) // nearly always
	} else {
		p.charge(max(n, s.scatter(union)))
	}
	s.source.Release(&s.burst, 0, n)
	s.held = false
	return true
}

// scatter sends the frames of the burst to where each goes, and returns what that cost.
func (s *Switch) scatter(union portSet) (cost int) {
	for ; union != 0; union &= union - 1 {
		port := bits.TrailingZeros64(uint64(union))
		var which order
		k := 0
		for i := range s.burst.Len() {
			if s.to[i]&(1<<port) != 0 {
				which[k] = uint8(i)
				k++
			}
		}
		s.picked.Pick(&s.burst, which[:k])
		cost += s.send(port, &s.picked)
	}
	return cost
}

// send gives frames to a port, which drops those that it has no room for. It may have some and
// only bound its work, as it does when frames take many buffers each, or do what comes next in
// another way: so it is asked again as long as it takes some, a frame at least or, of one that is cut,
// more than the usual pieces. If that one is not sent to its end, the rest of it counts as one drop.
// send returns what that cost, see charge.
func (s *Switch) send(port int, b *virtionet.Burst) (cost int) {
	active := s.ports[port].active
	q := active[s.pair%len(active)]
	s.target = q
	c := q.Counters()
	before, bad, steps := handled(c), c.Drops[virtionet.DropBadBuffer], q.Work()
	for done, was := 0, before-bad; ; {
		k := q.Transmit(b, done, b.Len())
		if done += k; done == b.Len() {
			break
		}
		is := handled(c) - c.Drops[virtionet.DropBadBuffer]
		full := k == 0 && is-was < usualPieces
		if was = is; full || handled(c)-before >= sendWork || q.Work()-steps >= sendSteps {
			c.Drops[virtionet.DropNoRoom] += uint64(b.Len() - done)
			break
		}
	}
	s.target = nil
	bad = c.Drops[virtionet.DropBadBuffer] - bad // which the port's guest has to answer for, not who sends to it
	return max(b.Len(), int(handled(c)-before-bad)-usualPieces*b.Len())
}

// sendWork is after how many frames, pieces of large ones counted each, a port is not asked again. It is
// above what the usual segments of a burst make; a guest may have one cut into thousands,
// and that shall not hold the others up.
const sendWork = 4096

// sendSteps is after how many steps to find buffers a port is not asked again, see Laborious. The largest
// frames of a burst take a quarter of it in plain buffers of 1526 bytes, two for each, and two thirds where each is in two
// descriptors or in a table of its own, six or five; and it is enough for 400 chains of 19 pages each, in tables.
// But a guest may offer buffers of which a frame takes a thousand, or chains as long. It gets
// what can be done in the time that others have for their largest frames, cut.
const sendSteps = 6 * 4096

// usualPieces are of a frame of 64 KiB for a guest that takes none of more than 1500 bytes. They cost about
// what such a frame does that is not cut, and are not the sender's choice.
const usualPieces = 45

// handled is how many frames a port has sent or dropped.
func handled(c *virtionet.Counters) uint64 { return c.TxPackets + c.Dropped() }

// A frame to many ports costs many copies, and one that is cut into more than the usual pieces costs as
// much as those. So that a guest that floods, or has frames cut, costs others no more than one that does
// not, a port pays for what came of its frames: it gets no turn until it has had as many rounds
// as that would have filled bursts.

func (p *switchPort) charge(work int) { p.debt += work }

// settle is a round's worth of paying, and reports whether the port has its turn.
func (p *switchPort) settle() bool {
	p.debt = max(0, p.debt-virtionet.MaxBurst)
	return p.debt == 0
}
