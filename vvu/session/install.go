package session

import (
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/vhostuser"
)

// installChanged installs the pairs that have changed. What the control queue writes is
// marked where theirs is.
func (s *Session) installChanged() {
	s.control.mark(s)
	for i := range s.pairs {
		if s.pairs[i].changed {
			s.install(i)
		}
	}
}

// install hands the rings of pair i that run to the forwarder and waits for it.
func (s *Session) install(i int) {
	p, to, from := &s.pairs[i], 2*i, 2*i+1
	features := s.backend.Features()
	q := &guest.Queues{
		ToGuest: s.dataRing(to), FromGuest: s.dataRing(from),
		ToGuestEnabled: s.enabled(to), FromGuestEnabled: s.enabled(from),
		MTU: int(s.backend.MTU()), Filter: s.control.wanted,
		Sends: virtionet.OffloadsToDevice(features), Takes: virtionet.OffloadsToDriver(features),
		ToGuestLog: s.logging(to), FromGuestLog: s.logging(from),
		HeaderLen: virtionet.HeaderSize(features), Mergeable: features.Has(virtio.NetMrgRxbuf),
		ToGuestPlace: s.places[to], FromGuestPlace: s.places[from],
		ToGuestAwaited: s.await(to), FromGuestAwaited: s.await(from),
	}
	for k, call := range []*guest.Doorbell{&q.ToGuestCall, &q.FromGuestCall} {
		ring := to + k
		if s.pairOf(ring) < 0 {
			continue
		}
		state := s.backend.Ring(ring)
		if fd := s.events[ring].kick; fd >= 0 && state.HaveKick {
			q.KickFDs = append(q.KickFDs, fd)
		}
		q.Polled = q.Polled || s.rings[ring] != nil && s.deaf(ring, state)
		if state.Callable {
			*call = s.events[ring].call
		}
	}
	if !p.served && q.ToGuest == nil && q.FromGuest == nil && len(q.KickFDs) == 0 {
		p.changed = false
		return
	}
	if i == 0 {
		q.Announce = s.introduce(p, q)
	}
	p.changed, p.served = false, true
	p.guest.Install(q)
}

// introduce returns what is to be announced now that q is installed: what the front-end
// asked for, which waits until the guest can send, or the address that is known.
func (s *Session) introduce(p *pair, q *guest.Queues) *guest.Announcement {
	if q.FromGuest == nil || !q.FromGuestEnabled {
		p.announced = p.announced && q.FromGuest != nil
		return nil
	}
	a := p.announce
	if a == nil && !p.announced {
		a = s.address
	}
	p.announce, p.announced = nil, true
	return a
}

// deaf reports whether kicks of ring i, whose state is given, cannot be heard.
func (s *Session) deaf(i int, state vhostuser.RingState) bool {
	return state.KickNoFD || s.events[i].kick < 0
}

// empty takes a pair's queues away for good and waits for the forwarder, if it has any.
func (s *Session) empty(p *pair) {
	if p.served {
		p.guest.Install(nil)
	}
	p.changed, p.served, p.announced = false, false, false
}
