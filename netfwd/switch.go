package netfwd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	virtionet "vvufwd/virtio/net"
)

// MaxSwitchPorts is how many ports a switch can have: sets of ports are the bits of
// a word.
const MaxSwitchPorts = 64

// SwitchPort is a port of a switch.
type SwitchPort struct {
	End
	// Address, if not nil, is the only address that frames from the port may come
	// from, and frames to it always go to the port. Otherwise addresses are learned.
	Address net.HardwareAddr
	// Isolated ports reach only ports that are not isolated.
	Isolated bool
	// Uplink says that the port leads to a network, a NIC, rather than to an app VM.
	// More addresses are learned there, and an app VM cannot claim one of them.
	Uplink bool
}

// SwitchConfig is how a switch behaves.
type SwitchConfig struct {
	Ports []SwitchPort // 2 to MaxSwitchPorts
	// MACAge is how long an address is known after its last frame.
	MACAge time.Duration
	// MACLimit is how many addresses are learned from an app VM's port at most;
	// from an uplink it is UplinkShare times as many.
	MACLimit int
	// OnConflict, if not nil, is told by Run of an address that frames have from two
	// ports, which are named: once for each address, and of maxConflicts at most.
	OnConflict func(address net.HardwareAddr, ports [2]string)
}

// UplinkShare is how many times as many addresses an uplink may have as an app VM's
// port: there is a whole network behind it.
const UplinkShare = 16

// Switch is a switch with the loop that serves it.
type Switch struct {
	controller
	conflicts *conflicts
}

// NewSwitch prepares a switch and its loop. Warn is told of devices that do not spread
// frames; it must not block.
func NewSwitch(sw SwitchConfig, loop Config, warn func(error)) (*Switch, error) {
	b, err := newBridge(sw)
	if err != nil {
		return nil, err
	}
	l, err := newLoop([]group{b}, loop)
	if err != nil {
		return nil, err
	}
	s := &Switch{newController(warn), newConflicts(sw)}
	b.macs.conflict = s.conflicts.report
	s.loops = []*Loop{l}
	for i, p := range sw.Ports {
		e := &spreadEnd{End: p.End}
		for k, other := range sw.Ports {
			if k != i {
				e.others = append(e.others, other.End)
			}
		}
		s.ends = append(s.ends, e)
	}
	return s, nil
}

// Run follows what guests make of their queue pairs, and tells of conflicts, until ctx is
// done.
func (s *Switch) Run(ctx context.Context) {
	var tell sync.WaitGroup
	tell.Go(func() { s.conflicts.tell(ctx) })
	s.follow(ctx, func() {})
	tell.Wait()
}

// Collect is netfwd.Collect for the switch's loop.
func (s *Switch) Collect() Stats { return Collect(s.loops) }

// bridge is a switch that learns, the group of all its ports.
//
// It takes a burst from each port in turn, finds the set of ports that each frame
// goes to, and hands each of those ports its frames, in their order, before the
// burst is released. What comes from one queue pair goes to one queue pair of each
// port, so frames of one flow keep their order. It never waits for room.
// What a port does not take is dropped there, as switches do, so that a guest that
// stands still delays nobody.
type bridge struct {
	ports  []bridgePort
	all    []Port // all queue pairs of all ports
	macs   *macTable
	floods uint64 // frames sent to all ports for want of a known one

	// The queue pair whose burst is at work, and the one that takes frames of it or nil.
	// pair is the source's number among those of its port.
	source, target Port
	pair           int

	burst  virtionet.Burst // of frames on the short way
	frames [virtionet.MaxBurst]virtionet.Frame
	to     [virtionet.MaxBurst]portSet // where they go
	some   [virtionet.MaxBurst]virtionet.Frame

	// Addresses are checked and sent on from here. Whoever is behind a port could
	// change them in its own memory after the check.
	heads  [virtionet.MaxBurst][virtionet.MinFrame]byte
	halves [virtionet.MaxBurst][2][]byte // a frame's head, which stays, and the rest of it
	views  [][]byte                      // for frames in more pieces
}

// bridgePort is a port with what the bridge knows of it.
type bridgePort struct {
	queues []Port
	short  []plainPort // the same where they are such, nil where not
	busy   []int       // of queues, those of which a ring runs
	active []Port      // those that take frames; if there is none, the first, which drops them
	turn   int         // of busy, the one that is asked first

	reach  portSet // the ports that its frames may go to
	own    mac     // the only source address that it may use, or 0
	uplink bool

	// The source address of the last frame that was let in, and the version of the
	// table in which it has been noted.
	last    mac
	version uint32

	// Copies made for the port that it has yet to wait for, see charge.
	debt int
}

// portSet has a bit for each port.
type portSet uint64

// newBridge checks and prepares. No frame is looked at before the loop runs.
func newBridge(cfg SwitchConfig) (*bridge, error) {
	n := len(cfg.Ports)
	if n < 2 || n > MaxSwitchPorts {
		return nil, fmt.Errorf("a switch of %d ports: want 2 to %d", n, MaxSwitchPorts)
	}
	b := &bridge{ports: make([]bridgePort, n), views: make([][]byte, 0, 4*virtionet.MaxBurst)}
	for i := range b.halves {
		b.halves[i][0] = b.heads[i][:virtionet.AddressBytes]
	}
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
	b.macs = newMACTable(shares, cfg.MACAge)
	for i, p := range cfg.Ports {
		b.all = append(b.all, p.Queues...)
		port := bridgePort{queues: p.Queues, uplink: p.Uplink, reach: everybody &^ (1 << i), last: noStation}
		for _, q := range p.Queues {
			short, _ := q.(plainPort)
			port.short = append(port.short, short)
		}
		port.sort()
		if p.Isolated {
			port.reach &^= isolated
		}
		if p.Address != nil {
			if port.own = macOf(p.Address); b.macs.lookup(port.own) != noPort {
				return nil, fmt.Errorf("%s: another port has the address %v as well", p.Queues[0].Name(), p.Address)
			}
			b.macs.fix(port.own, i)
		}
		b.ports[i] = port
	}
	return b, nil
}

func (b *bridge) members() []Port { return b.all }

func (b *bridge) link() *link { return nil }

func (b *bridge) String() string {
	names := make([]string, len(b.ports))
	for i, p := range b.ports {
		names[i] = p.queues[0].Name()
	}
	return "the switch of " + strings.Join(names, ", ")
}

// sort finds out which queue pairs are good for what.
func (p *bridgePort) sort() {
	p.busy, p.active, p.turn = p.busy[:0], p.active[:0], 0
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

// step takes a burst from each port.
func (b *bridge) step() bool {
	moved := false
	for i := range b.ports {
		p := &b.ports[i]
		for _, k := range p.busy {
			if q := p.queues[k]; q.Changed() {
				b.sync(i, q)
				break // busy is another one now; more of them can wait for the next round
			}
		}
		if p.debt > 0 && !p.settle() {
			continue
		}
		moved = b.serve(i) || moved
	}
	for i := range b.ports {
		p := &b.ports[i]
		for _, k := range p.busy {
			b.source = p.queues[k]
			b.source.Notify()
		}
	}
	return moved
}

// sync lets a queue pair of port i change. If its guest is gone, and another one may be
// behind it from now on, what is known of the one before is forgotten; not if the same one
// has merely another call descriptor, as QEMU has whenever a guest masks an interrupt.
func (b *bridge) sync(i int, q Port) {
	b.source = q
	if gone := q.Sync(); gone {
		b.macs.forget(i)
	}
	b.ports[i].sort()
}

// A frame to many ports costs many copies. So that a guest that floods costs others
// no more than one that does not, a port pays for its copies: it gets no turn until
// it has had as many rounds as its copies would have filled bursts.

func (p *bridgePort) charge(copies int) { p.debt += copies }

// settle is a round's worth of paying, and reports whether the port has its turn.
func (p *bridgePort) settle() bool {
	p.debt = max(0, p.debt-virtionet.MaxBurst)
	return p.debt == 0
}

// enableKicks asks for no word of room: nothing ever waits for it.
func (b *bridge) enableKicks() (work bool) {
	for _, q := range b.all {
		b.source = q
		frames, _ := q.EnableKicks(false)
		work = work || frames || q.Changed()
	}
	return work
}

func (b *bridge) disableKicks() {
	for _, q := range b.all {
		b.source = q
		q.DisableKicks()
	}
}

// housekeep also lets those queue pairs change that step does not look at.
func (b *bridge) housekeep(now time.Time) {
	b.macs.tick(now)
	for i := range b.ports {
		for _, q := range b.ports[i].queues {
			if q.Changed() {
				b.sync(i, q)
			}
		}
	}
}

func (b *bridge) leave() {
	for _, q := range b.all {
		b.source = q
		q.Leave()
	}
}

// contain puts the port out of order in whose peer's memory a fault struck. If it is
// nobody's memory, those are that were at work. All others go on without what is
// left of the burst.
func (b *bridge) contain(err error) (failed []Port) {
	var atWork []Port
	for _, q := range []Port{b.source, b.target} {
		if q != nil {
			atWork = append(atWork, q)
		}
	}
	b.target = nil
	return contain(b.all, atWork, err)
}

// describe tells of the switch.
func (b *bridge) describe(s *snapshot) {
	s.sw = SwitchStats{
		Ports: len(b.ports), Learned: b.macs.learned(), Static: b.macs.fixed,
		Moves: b.macs.moves, Refused: b.macs.refused, Floods: b.floods,
	}
	for i := range b.ports {
		for k, q := range b.ports[i].queues {
			s.add(q, k > 0)
		}
	}
}
