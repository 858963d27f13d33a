package session

import (
	"vvufwd/virtio"
	"vvufwd/virtio/vring"
)

// What a ring is for follows from what was negotiated. It can change with each SET_FEATURES,
// so that all rings are taken away first.

// touch notes that what ring i belongs to has changed.
func (s *Session) touch(i int) {
	if p := s.pairOf(i); p >= 0 {
		s.pairs[p].changed = true
	}
}

// controlRing is the ring that is the control queue by what was negotiated (5.1.2): the
// one after all pairs that there can be. It is negative if there is none.
func (s *Session) controlRing() int {
	switch f := s.backend.Features(); {
	case !f.Has(virtio.NetCtrlVQ):
		return -1
	case f.Has(virtio.NetMQ):
		return 2 * len(s.pairs)
	default:
		return 2
	}
}

// pairOf is the pair that ring i belongs to, or negative.
func (s *Session) pairOf(i int) int {
	if i == s.controlRing() || i >= 2*len(s.pairs) {
		return -1
	}
	return i / 2
}

// hasRole reports whether ring i is good for anything.
func (s *Session) hasRole(i int) bool { return i == s.controlRing() || s.pairOf(i) >= 0 }

// dataRing is ring i if it runs and is one of a pair.
func (s *Session) dataRing(i int) *vring.Device {
	if s.pairOf(i) < 0 {
		return nil
	}
	return s.rings[i]
}

// enabled reports whether ring i, of a pair, is to be used.
func (s *Session) enabled(i int) bool {
	const toGuest = 0
	return s.backend.Ring(i).Enabled && (i%2 != toGuest || s.takes(i/2))
}

// takes reports whether the guest takes frames at a pair, as far as it depends on how many
// it has negotiated, or chosen. Where its monitor keeps the control queue to itself, the
// rings that are enabled tell.
func (s *Session) takes(pair int) bool {
	switch {
	case pair == 0:
		return true
	case !s.backend.Features().Has(virtio.NetMQ):
		return false
	}
	return pair < s.control.chosen(len(s.pairs))
}
