package netfwd

import (
	"slices"
	"strings"
	"time"

	virtionet "vvufwd/virtio/net"
)

// lane is the queue pairs between which frames pass without a look at what is in
// them: one of each of two ends, or more of one end if it has more. What one of them
// sends goes to one of the other end, always the same, or if there are several each flow
// to one (steering). So flows keep their order.
type lane struct {
	ports   []Port
	dirs    []*direction // dirs[i] carries what comes from ports[i]
	sources [2]sources   // dirs by end
	dormant []*direction // of those of which no ring runs; they are looked after now and then
	further []Port       // those that are not the first of their end
	of      *link        // nil: it is all of one
}

// sources are the queue pairs of an end that send through a lane. A step is the turn of
// one of them, so that an end with many has no more of a loop's time than one with few.
type sources struct {
	dirs []*direction
	last int // whose turn it was
}

// newPair joins two ports.
func newPair(a, b Port) *lane {
	l := &lane{}
	for end, d := range []*direction{{src: a, dst: b}, {src: b, dst: a}} {
		l.add(d, end)
	}
	return l
}

// add adds what carries frames of one of an end's ports.
func (l *lane) add(d *direction, end int) {
	l.ports, l.dirs = append(l.ports, d.src), append(l.dirs, d)
	l.sources[end].dirs = append(l.sources[end].dirs, d)
}

func (l *lane) link() *link { return l.of }

func (l *lane) members() []Port {
	all := l.ports[:len(l.ports):len(l.ports)]
	for _, d := range l.dormant {
		all = append(all, d.src)
	}
	return all
}

func (l *lane) String() string {
	var names []string
	for _, p := range l.members() {
		names = append(names, p.Name())
	}
	return strings.Join(names, " and ")
}

// housekeep lets the dormant change. Whoever deals out lanes then finds a better place
// for them.
func (l *lane) housekeep(time.Time) {
	for _, d := range l.dormant {
		if d.src.Changed() {
			l.sync(d.src)
		}
	}
}

func (l *lane) describe(s *snapshot) {
	s.loop.Pairs += min(len(l.ports), 1)
	for _, p := range l.members() {
		s.add(p, slices.Contains(l.further, p))
	}
}

// step serves both ends once.
func (l *lane) step() bool {
	for _, p := range l.ports {
		if p.Changed() {
			l.sync(p)
		}
	}
	moved := false
	for i := range l.sources {
		moved = l.sources[i].step() || moved
	}
	for _, p := range l.ports {
		p.Notify()
	}
	return moved
}

// step serves the next queue pair that has something.
func (s *sources) step() bool {
	for range s.dirs {
		if s.last++; s.last >= len(s.dirs) {
			s.last = 0
		}
		if s.dirs[s.last].step() {
			return true
		}
	}
	return false
}

// sync lets a port change. Frames on the way from it are given up if the ring is another
// one that they came from, and frames on the way to it if it may be somebody else who
// would take them. A guest that resets one of its rings loses what is in that ring. A
// dormant port can have some too: who deals lanes out may know that its rings are to
// stop before the loop has stopped them.
func (l *lane) sync(p Port) {
	dropped, another := p.Sync()
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			if d.dst == p && another {
				d.src.Abandon()
				d.forget()
			}
			if d.src == p && dropped {
				d.forget()
			}
		}
	}
}

func (l *lane) enableKicks() (work bool) {
	for i, p := range l.ports {
		// A port is asked for room if frames of another one wait for it; its own
		// frames are no work while earlier ones wait for room.
		frames, room := p.EnableKicks(l.awaited(p))
		work = work || room || frames && !l.dirs[i].blocked() || p.Changed()
	}
	for _, d := range l.dormant {
		work = work || d.src.Changed()
	}
	return work
}

// awaited reports whether frames wait for room at a port.
func (l *lane) awaited(p Port) bool {
	for _, d := range l.dirs {
		if d.dst == p && d.blocked() {
			return true
		}
	}
	return false
}

func (l *lane) disableKicks() {
	for _, p := range l.ports {
		p.DisableKicks()
	}
}

func (l *lane) leave() {
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			d.forget()
			d.src.Leave()
		}
	}
}

// contain puts the port out of order in whose peer's memory a fault struck; the
// others lose the bursts at hand. If it is nobody's memory, all are out of order.
func (l *lane) contain(err error) (failed []Port) {
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			d.forget()
		}
	}
	return contain(l.members(), l.ports, err)
}

// direction carries frames from one port to another, or to some if it steers.
type direction struct {
	src, dst Port // dst: of those, the one that the next frame goes to
	frames   [virtionet.MaxBurst]virtionet.Frame
	n        int // frames handed out by src
	sent     int // of these, done with
	kept     int // of these, not released yet

	steer   *steered  // to several queue pairs of a guest, or nil
	dealt   bool      // the frames were sorted for queue pairs of another lane
	several bool      // src is not the only queue pair of its end
	learn   *steering // that is to know what src sends, or nil
	learnAs int
}

// step moves one burst and reports whether anything moved. Frames for which dst
// has no room are kept for the next step. Nothing but rubbish counts as a move if there
// are other queue pairs whose turn it might be: looking at that takes as long.
func (d *direction) step() bool {
	if d.sent == d.n {
		var before uint64
		if d.several {
			before = d.src.Counters().Dropped()
		}
		d.n, d.sent = d.src.RxBurst(d.frames[:]), 0
		if d.n == 0 {
			return d.several && d.src.Counters().Dropped() != before
		}
		if d.learn != nil {
			d.learn.learn(d.frames[:d.n], d.learnAs)
		}
		d.sort()
	} else if d.dealt {
		d.sort()
	}
	if d.steer != nil || d.kept > 0 {
		return d.stepSteered()
	}
	done := d.dst.TxBurst(d.frames[d.sent:d.n])
	if done == 0 {
		return false
	}
	d.sent += done
	d.src.Release(done)
	return true
}

// sort makes frames that are not sent yet ready for where they go by now.
func (d *direction) sort() {
	d.dealt = false
	if d.steer != nil {
		d.steer.sort(d.frames[:d.n], d.sent)
	}
}

// stepSteered is step for frames to several ports. They are not in the order in which
// they came any more, so none is released before all are sent.
func (d *direction) stepSteered() bool {
	moved := false
	for d.sent < d.n {
		end := d.n
		if d.steer != nil {
			d.dst, end = d.steer.run(d.sent)
		}
		done := d.dst.TxBurst(d.frames[d.sent:end])
		d.sent += done
		d.kept += done
		moved = moved || done > 0
		if d.sent < end {
			return moved
		}
	}
	d.src.Release(d.kept)
	d.kept = 0
	return true
}

// blocked reports whether frames wait for room at dst.
func (d *direction) blocked() bool { return d.sent < d.n }

// forget lets go of frames that src has abandoned.
func (d *direction) forget() { d.n, d.sent, d.kept = 0, 0, 0 }
