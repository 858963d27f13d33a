package netfwd

import (
	"slices"
	"strings"
	"time"
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
	all     []Port       // see members
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
		d.short = newShortWay(d.src, d.dst)
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

// members puts its answer together once: a lane is complete before it is served.
func (l *lane) members() []Port {
	if len(l.all) != len(l.ports)+len(l.dormant) {
		l.all = append(l.all[:0], l.ports...)
		for _, d := range l.dormant {
			l.all = append(l.all, d.src)
		}
	}
	return l.all
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

// sync lets a port change. Frames from it that are not sent go back to its ring, where
// they are taken again as soon as it runs. Frames for it wait, unless its peer is gone: it
// may be somebody else who would take them, and copies of what it sent are nobody's. A dormant port can have some too: who deals
// lanes out may know that its rings are to stop before the loop has stopped them.
func (l *lane) sync(p Port) {
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			if d.src == p {
				d.settle()
			}
		}
	}
	gone := p.Sync()
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			if d.src == p {
				d.resumeWait()
			}
		}
	}
	if !gone {
		return
	}
	for _, dirs := range [][]*direction{l.dirs, l.dormant} {
		for _, d := range dirs {
			if d.dst == p || d.src == p {
				d.abandon()
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
			d.giveUp()
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
