package netfwd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	virtionet "vvufwd/virtio/net"
)

// switchPort is a port with what the switch knows of it.
type switchPort struct {
	queues []*member
	busy   []int      // of queues, those of which a ring runs
	active []*member  // those that take frames; if there is none, the first, which drops them
	turn   roundRobin // of busy

	reach  portSet // the ports that its frames may go to
	own    mac     // the only source address that it may use, or 0
	uplink bool

	// The source address of the last frame that was let in, and the version of the
	// table in which it has been noted.
	last    mac
	version uint32

	// Copies and pieces made of its frames that the port has yet to wait for, see charge.
	debt int
}

// portSet has a bit for each port.
type portSet uint64

// newSwitch checks and prepares what is the loop's. No frame is looked at before that runs.
func newSwitch(cfg SwitchConfig) (*Switch, error) {
	n := len(cfg.Ports)
	if n < 2 || n > MaxSwitchPorts {
		return nil, fmt.Errorf("a switch of %d ports: want 2 to %d", n, MaxSwitchPorts)
	}
	s := &Switch{ports: make([]switchPort, n)}
	shares := make([]macShare, n)
	var isolated, everybody portSet
	for i, p := range cfg.Ports {
		everybody |= 1 << i
		if p.Isolated {
			isolated |= 1 << i
		}
		shares[i] = macShare{limit: cfg.MACLimit, uplink: p.Uplink}
		if p.Uplink {
			shares[i].limit *= UplinkShare
		}
	}
	s.macs = newMACTable(shares, cfg.MACAge)
	for i, p := range cfg.Ports {
		port := switchPort{queues: newMembers(p.End), uplink: p.Uplink, reach: everybody &^ (1 << i), last: noStation}
		s.all = append(s.all, port.queues...)
		port.sort()
		if p.Isolated {
			port.reach &^= isolated
		}
		if p.Address != nil {
			if port.own = macOf(p.Address); s.macs.lookup(port.own) != noPort {
				return nil, fmt.Errorf("%s: another port has the address %v as well", p.Queues[0].Name(), p.Address)
			}
			s.macs.fix(port.own, i)
		}
		s.ports[i] = port
	}
	return s, nil
}

func (s *Switch) members() []*member { return s.all }

func (s *Switch) of() *link { return nil }

func (s *Switch) String() string {
	names := make([]string, len(s.ports))
	for i, p := range s.ports {
		names[i] = p.queues[0].Name()
	}
	return "the switch of " + strings.Join(names, ", ")
}

// sort finds out which queue pairs are good for what.
func (p *switchPort) sort() {
	p.busy, p.active = p.busy[:0], p.active[:0]
	for i, q := range p.queues {
		switch q.State() {
		case virtionet.StateActive:
			p.active = append(p.active, q)
			fallthrough
		case virtionet.StateSending:
			p.busy = append(p.busy, i)
		}
	}
	if len(p.active) == 0 {
		p.active = append(p.active, p.queues[0])
	}
}

// sync lets a queue pair of port i change. If its guest is gone, and another one may be
// behind it from now on, what is known of the one before is forgotten; not if the same one
// has merely another call descriptor, as QEMU has whenever a guest masks an interrupt.
func (s *Switch) sync(i int, q *member) {
	s.source = q
	if gone := q.Sync(); gone {
		s.macs.forget(i)
	}
	s.ports[i].sort()
}

// enableKicks asks for no word of room: nothing ever waits for it. Who tells of some all the same
// has its first, and takes frames from now on.
func (s *Switch) enableKicks() (work bool) {
	for _, q := range s.all {
		s.source = q
		frames, room := q.EnableKicks(false)
		work = work || frames || room || q.Changed()
	}
	return work
}

// waits is false: old addresses are forgotten by housekeep, which comes before they are
// used, but for a burst.
func (s *Switch) waits() bool { return false }

// blocked is false: what finds no room is dropped.
func (s *Switch) blocked() bool { return false }

func (s *Switch) disableKicks() {
	for _, q := range s.all {
		s.source = q
		q.DisableKicks()
	}
}

// housekeep also lets those queue pairs change that step does not look at, and finds those that
// have got their first buffers.
func (s *Switch) housekeep(now time.Time) {
	s.macs.tick(now)
	for i := range s.ports {
		for _, q := range s.ports[i].queues {
			if q.Changed() {
				s.sync(i, q)
			}
		}
		s.ports[i].sort()
	}
}

func (s *Switch) leave() {
	for _, q := range s.all {
		s.source = q
		q.Leave()
	}
}

// contain fails the port in whose peer's memory a fault struck. If it is
// no one's memory, those fail that were at work. All others go on without what is
// left of the burst.
func (s *Switch) contain(err error) (failed []Port) {
	var atWork []*member
	for _, q := range []*member{s.source, s.target} {
		if q != nil {
			atWork = append(atWork, q)
		}
	}
	s.target = nil
	failed = contain(s.all, atWork, err)
	if s.held && s.burst.Plain() && !slices.Contains(failed, s.source.Port) {
		// Plain frames come again, and some ports have them already: so none does.
		s.source.Counters().Drops[virtionet.DropStopped] += uint64(s.burst.Len())
		if again := guarded(func() { s.source.Release(&s.burst, 0, s.burst.Len()) }); again != nil {
			s.source.Fail(again)
			failed = append(failed, s.source.Port)
		}
	}
	s.held = false
	return failed
}

// describe tells of the switch.
func (s *Switch) describe(to *snapshot) {
	to.sw = SwitchStats{
		Ports: len(s.ports), Learned: s.macs.learned(), Static: s.macs.fixed,
		Moves: s.macs.moves, Refused: s.macs.refused, Floods: s.floods,
	}
	for i := range s.ports {
		for k, q := range s.ports[i].queues {
			to.add(q.Port, k > 0)
		}
	}
}
