package netfwd

import (
	"fmt"
	"time"

	virtionet "vvufwd/virtio/net"
)

// pair is two joined ports.
type pair struct {
	ports [2]Port
	dirs  [2]direction // from ports[0] to ports[1], and back
}

func newPair(a, b Port) *pair {
	return &pair{ports: [2]Port{a, b}, dirs: [2]direction{{src: a, dst: b}, {src: b, dst: a}}}
}

func (p *pair) members() []Port { return p.ports[:] }

// housekeep does nothing: all that a pair knows is in its ports.
func (p *pair) housekeep(time.Time) {}

func (p *pair) describe(s *LoopStats) { s.Pairs++ }

func (p *pair) String() string { return fmt.Sprintf("%s and %s", p.ports[0].Name(), p.ports[1].Name()) }

// step serves both directions once.
func (p *pair) step() bool {
	a, b := p.ports[0], p.ports[1]
	if a.Changed() || b.Changed() {
		p.sync()
	}
	there := p.dirs[0].step()
	back := p.dirs[1].step()
	a.Notify()
	b.Notify()
	return there || back
}

// sync lets ports change. Frames on the way are given up first, since their
// views may be of memory that is going away.
func (p *pair) sync() {
	for i, port := range p.ports {
		port.Abandon()
		p.dirs[i].forget()
	}
	for _, port := range p.ports {
		if port.Changed() {
			port.Sync()
		}
	}
}

func (p *pair) enableKicks() (work bool) {
	for i, port := range p.ports {
		// A port is asked for room if the frames of the other one wait for it;
		// its own frames are no work while earlier ones wait for room.
		frames, room := port.EnableKicks(p.dirs[1-i].blocked())
		work = work || room || frames && !p.dirs[i].blocked() || port.Changed()
	}
	return work
}

func (p *pair) disableKicks() {
	for _, port := range p.ports {
		port.DisableKicks()
	}
}

func (p *pair) leave() {
	for i, port := range p.ports {
		p.dirs[i].forget()
		port.Leave()
	}
}

// contain puts the port out of order in whose peer's memory a fault struck; the
// other one loses the burst at hand. If it is nobody's memory, both are out of
// order.
func (p *pair) contain(err error) (failed []Port) {
	for i := range p.dirs {
		p.dirs[i].forget()
	}
	return contain(p.ports[:], 1<<0|1<<1, err)
}

// direction carries frames from one port to another.
type direction struct {
	src, dst Port
	frames   [virtionet.MaxBurst]virtionet.Frame
	n        int // frames handed out by src
	sent     int // of these, done with
}

// step moves one burst and reports whether anything moved. Frames for which dst
// has no room are kept for the next step.
func (d *direction) step() bool {
	if d.sent == d.n {
		d.n, d.sent = d.src.RxBurst(d.frames[:]), 0
		if d.n == 0 {
			return false
		}
	}
	done := d.dst.TxBurst(d.frames[d.sent:d.n])
	if done == 0 {
		return false
	}
	d.sent += done
	d.src.Release(done)
	return true
}

// blocked reports whether frames wait for room at dst.
func (d *direction) blocked() bool { return d.sent < d.n }

// forget lets go of frames that src has abandoned.
func (d *direction) forget() { d.n, d.sent = 0, 0 }
