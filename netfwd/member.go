package netfwd

import (
	"time"

	virtionet "vvufwd/virtio/net"
)

// member is a port with all that it can do: what it does not implement is done for it. There is
// one for each port, made before it is served.
type member struct {
	Port
	Replaceable
	Peer
	Sleeper
	Restless
	Laborious
	capture *captureRing // nil: no one ever wants to see its frames
}

// Receive is Port's, with a copy for whoever captures.
func (m *member) Receive(b *virtionet.Burst) (worked bool) {
	worked = m.Port.Receive(b)
	if m.capture != nil && worked {
		m.capture.received(b)
	}
	return worked
}

// Transmit is Port's, with a copy for whoever captures.
func (m *member) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if m.capture != nil {
		return m.capture.transmit(m.Port, b, first, end)
	}
	return m.Port.Transmit(b, first, end)
}

func newMember(p Port) *member {
	m := &member{p, fixedRings{}, noPeer{p}, awake{}, certain{}, easy{}, nil}
	if r, ok := p.(Replaceable); ok {
		m.Replaceable = r
	}
	if peer, ok := p.(Peer); ok {
		m.Peer = peer
	}
	if s, ok := p.(Sleeper); ok {
		m.Sleeper = s
	} else {
		m.Peer = watched{m.Peer}
	}
	if r, ok := p.(Restless); ok {
		m.Restless = r
	}
	if l, ok := p.(Laborious); ok {
		m.Laborious = l
	}
	return m
}

// newMembers are the queue pairs of an end.
func newMembers(e End) []*member {
	members := make([]*member, len(e.Queues))
	for i, p := range e.Queues {
		members[i] = newMember(p)
		members[i].capture = e.Capture.ring(i)
	}
	return members
}

// fixedRings are never replaced.
type fixedRings struct{}

func (fixedRings) Changed() bool     { return false }
func (fixedRings) Sync() (gone bool) { return false }
func (fixedRings) Leave()            {}

// noPeer is at the other end of a port whose memory is ours, and who is always there.
type noPeer struct{ port Port }

func (noPeer) State() virtionet.State { return virtionet.StateActive }
func (noPeer) Polled() bool           { return false }
func (noPeer) Owns(uintptr) bool      { return false }
func (p noPeer) Fail(error)           { p.port.Recover() } // whatever it was is over

// awake is a port that cannot wake anybody.
type awake struct{}

func (awake) EnableKicks(bool) (frames, room bool) { return false, false }
func (awake) DisableKicks()                        {}
func (awake) WakeFDs() []int                       { return nil }

// watched is a peer of such a port.
type watched struct{ Peer }

func (watched) Polled() bool { return true }

// certain is a port that no one has to look at.
type certain struct{}

func (certain) LongestSleep() time.Duration { return forever }

// easy is a port that finds room by itself.
type easy struct{}

func (easy) Work() uint64 { return 0 }
