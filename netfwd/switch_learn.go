package netfwd

import virtionet "vvufwd/virtio/net"

// classify finds where each frame of the burst goes, and returns the ports that any of them
// goes to and those that all do. It fixes the frames' addresses as they were checked: whoever
// is behind a port could change them in its own memory after that.
func (s *Switch) classify(source int) (union, common portSet) {
	p := &s.ports[source]
	s.burst.ReadAddresses(!p.uplink)
	common = ^portSet(0)
	// Frames come in trains: what was found for one often holds for the next.
	var last virtionet.Addresses
	var to portSet
	var flood bool
	version := s.macs.version - 1 // as if the table had changed since
	for i := range s.burst.Len() {
		a := s.burst.Addresses(i)
		if a != last || s.macs.version != version {
			src, dst := mac(a.Source()), mac(a.Destination())
			if (src != p.last || s.macs.version != p.version) && !s.admit(source, src) {
				s.to[i], common = 0, 0
				version = s.macs.version - 1 // the next one is looked at in any case
				continue
			}
			to, flood = s.route(source, dst)
			last, version = a, s.macs.version
			union |= to
			common &= to
		}
		if to == 0 {
			s.source.Counters().Drops[virtionet.DropFiltered]++
		} else if flood {
			s.floods++
		}
		s.to[i] = to
	}
	return union, common
}

// admit notes where src is and reports whether the port may use it; if not, the
// frame is counted as dropped.
func (s *Switch) admit(source int, src mac) bool {
	p := &s.ports[source]
	allowed := src == p.own
	if p.own == 0 {
		allowed = src != 0 && !src.isGroup() && s.macs.learn(src, source)
	}
	if !allowed {
		s.source.Counters().Drops[virtionet.DropSpoofed]++
		return false
	}
	p.last, p.version = src, s.macs.version
	return true
}

// route is the set of ports to which a frame for dst goes: none, if it must not go
// anywhere. A flood is a frame for all that can be reached.
func (s *Switch) route(source int, dst mac) (to portSet, flood bool) {
	reach := s.ports[source].reach
	if dst.isGroup() {
		if dst.isReserved() {
			return 0, false
		}
		return reach, true
	}
	if port := s.macs.lookup(dst); port != noPort {
		return reach & (1 << port), false // never its own, nor one that isolation forbids
	}
	return reach, true
}
