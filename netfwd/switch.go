package netfwd

import (
	"context"
	"net"
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

// Switch is a switch that learns, and the one loop that serves it, as the group of all its
// ports. What is control's is in controller and conflicts; all else is the loop's.
//
// It takes a burst from each port in turn, finds the set of ports that each frame
// goes to (switch_learn.go), and hands each of those ports its frames, in their order,
// before the burst is released (switch_serve.go). What comes from one queue pair goes to one
// queue pair of each port, so frames of one flow keep their order. It never waits for room.
// What a port does not take is dropped there, as switches do, so that a guest that
// does not take its frames delays no one.
type Switch struct {
	controller
	conflicts *conflicts

	ports  []switchPort
	all    []*member // all queue pairs of all ports
	macs   *macTable
	floods uint64 // frames sent to all ports for want of a known one

	// The queue pair whose burst is at work, and the one that takes frames of it or nil.
	// pair is the source's number among those of its port.
	source, target *member
	pair           int

	burst  virtionet.Burst
	held   bool                        // source waits for its Release
	to     [virtionet.MaxBurst]portSet // where its frames go
	picked virtionet.Burst             // those of them that go to one port, if not all do
}

// NewSwitch prepares a switch and its loop. Warn is told of devices that do not spread
// frames; it must not block.
func NewSwitch(cfg SwitchConfig, loop Config, warn func(error)) (*Switch, error) {
	s, err := newSwitch(cfg)
	if err != nil {
		return nil, err
	}
	s.controller, s.conflicts = newController(warn), newConflicts(cfg)
	s.macs.conflict = s.conflicts.report
	l, err := newLoop([]group{s}, loop)
	if err != nil {
		return nil, err
	}
	s.loops = []*Loop{l}
	for i, p := range cfg.Ports {
		e := &spreadEnd{End: p.End}
		for k := range s.ports {
			if k != i {
				e.others = append(e.others, s.ports[k].queues)
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
