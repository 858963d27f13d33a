package netfwd

import (
	"fmt"
	"net"
	"strings"
	"time"

	virtionet "vvufwd/virtio/net"
)

// MaxSwitchPorts is how many ports a switch can have: sets of ports are the bits of
// a word.
const MaxSwitchPorts = 64

// SwitchPort is a port of a switch.
type SwitchPort struct {
	Port
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
}

// UplinkShare is how many times as many addresses an uplink may have as an app VM's
// port: there is a whole network behind it.
const UplinkShare = 16

// NewSwitchLoop prepares a loop for one switch.
func NewSwitchLoop(sw SwitchConfig, cfg Config) (*Loop, error) {
	b, err := newBridge(sw)
	if err != nil {
		return nil, err
	}
	return newLoop([]group{b}, cfg)
}

// bridge is a switch that learns, the group of all its ports.
//
// It takes a burst from each port in turn, finds the set of ports that each frame
// goes to, and hands each of those ports its frames, in their order, before the
// burst is released: frames of one flow keep their order. It never waits for room.
// What a port does not take is dropped there, as switches do, so that a guest that
// stands still delays nobody.
type bridge struct {
	ports  []bridgePort
	all    []Port
	macs   *macTable
	floods uint64 // frames sent to all ports for want of a known one

	// The port whose burst is at work, and the one that takes frames of it or noPort.
	source, target int

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
	port   Port
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
	b := &bridge{ports: make([]bridgePort, n), target: noPort, views: make([][]byte, 0, 4*virtionet.MaxBurst)}
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
		b.all = append(b.all, p.Port)
		port := bridgePort{port: p.Port, uplink: p.Uplink, reach: everybody &^ (1 << i), last: noStation}
		if p.Isolated {
			port.reach &^= isolated
		}
		if p.Address != nil {
			if port.own = macOf(p.Address); b.macs.lookup(port.own) != noPort {
				return nil, fmt.Errorf("%s: another port has the address %v too", p.Name(), p.Address)
			}
			b.macs.fix(port.own, i)
		}
		b.ports[i] = port
	}
	return b, nil
}

func (b *bridge) members() []Port { return b.all }

func (b *bridge) String() string {
	names := make([]string, len(b.all))
	for i, p := range b.all {
		names[i] = p.Name()
	}
	return "the switch of " + strings.Join(names, ", ")
}

// step takes a burst from each port.
func (b *bridge) step() bool {
	moved := false
	for i := range b.ports {
		p := &b.ports[i]
		b.source = i
		if p.port.Changed() {
			b.sync(i)
		}
		if p.debt > 0 && !p.settle() {
			continue
		}
		moved = b.serve(i) || moved
	}
	for i := range b.ports {
		b.source = i
		b.ports[i].port.Notify()
	}
	return moved
}

// sync lets a port change: another guest may be behind it from now on.
func (b *bridge) sync(i int) {
	b.macs.forget(i)
	b.ports[i].port.Sync()
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
	for i := range b.ports {
		b.source = i
		port := b.ports[i].port
		frames, _ := port.EnableKicks(false)
		work = work || frames || port.Changed()
	}
	return work
}

func (b *bridge) disableKicks() {
	for i := range b.ports {
		b.source = i
		b.ports[i].port.DisableKicks()
	}
}

func (b *bridge) housekeep(now time.Time) { b.macs.tick(now) }

func (b *bridge) leave() {
	for i := range b.ports {
		b.source = i
		b.ports[i].port.Leave()
	}
}

// contain puts the port out of order in whose peer's memory a fault struck. If it is
// nobody's memory, those are that were at work. All others go on without what is
// left of the burst.
func (b *bridge) contain(err error) (failed []Port) {
	atWork := portSet(1 << b.source)
	if b.target != noPort {
		atWork |= 1 << b.target
	}
	b.target = noPort
	return contain(b.all, atWork, err)
}

// describe tells of the switch.
func (b *bridge) describe(s *LoopStats) {
	s.Switch = &SwitchStats{
		Ports: len(b.ports), Learned: b.macs.learned(), Static: b.macs.fixed,
		Moves: b.macs.moves, Refused: b.macs.refused, Floods: b.floods,
	}
}
