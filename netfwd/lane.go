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
	dirs    []*direction // one for each queue pair that has work
	sources [2]sources   // dirs by end

	idle      []*direction // of queue pairs of which no ring runs; they are looked after now and then
	all       []*direction // both
	ports     []*member    // of all
	secondary []Port       // those that are not the first of their end
	link      *link        // it is all of one
}

// sources are the queue pairs of an end that send through a lane. A step is the turn of
// one of them, so that an end with many has no more of a loop's time than one with few.
type sources struct {
	dirs []*direction
	turn roundRobin
}

// add adds what carries frames of one of an end's ports.
func (l *lane) add(d *direction, end int) {
	l.dirs = append(l.dirs, d)
	l.sources[end].dirs = append(l.sources[end].dirs, d)
	l.note(d)
}

// addIdle adds what carries none.
func (l *lane) addIdle(d *direction) {
	l.idle = append(l.idle, d)
	l.note(d)
}

func (l *lane) note(d *direction) {
	l.all, l.ports = append(l.all, d), append(l.ports, d.src)
}

func (l *lane) of() *link { return l.link }

func (l *lane) members() []*member { return l.ports }

func (l *lane) String() string {
	var names []string
	for _, p := range l.ports {
		names = append(names, p.Name())
	}
	return strings.Join(names, " and ")
}

// housekeep lets idle queue pairs change. Whoever assigns lanes then finds a better place
// for them.
func (l *lane) housekeep(time.Time) {
	for _, d := range l.idle {
		if d.src.Changed() {
			l.sync(d.src)
		}
	}
}

func (l *lane) describe(s *snapshot) {
	s.loop.Pairs += min(len(l.dirs), 1)
	for _, p := range l.ports {
		s.add(p.Port, slices.Contains(l.secondary, p.Port))
	}
}

// step serves both ends once.
func (l *lane) step() bool {
	for _, d := range l.dirs {
		if d.src.Changed() {
			l.sync(d.src)
		}
	}
	worked := false
	for i := range l.sources {
		worked = l.sources[i].step() || worked
	}
	for _, d := range l.dirs {
		d.src.Notify()
	}
	return worked
}

// step serves the next queue pair that has something.
func (s *sources) step() bool {
	for range s.dirs {
		if s.dirs[s.turn.next(len(s.dirs))].step() {
			return true
		}
	}
	return false
}

// sync lets a port change. Frames from it that are not sent go back to its ring, where
// they are taken again as soon as it runs. Frames for it wait, unless its peer is gone: it
// may be someone else who would take them, and copies of what it sent are no one's. An idle
// port can have some too: who assigns lanes may know that its rings are to stop before
// the loop has stopped them.
func (l *lane) sync(p *member) {
	for _, d := range l.all {
		if d.src == p {
			d.settle()
		}
	}
	gone := p.Sync()
	for _, d := range l.all {
		if d.src == p {
			d.record.resume()
		}
		if gone && (d.dst == p || d.src == p) {
			d.abandon()
		}
	}
}

func (l *lane) enableKicks() (work bool) {
	for _, d := range l.dirs {
		// A port is asked for room if frames of another one wait for it; its own
		// frames are no work while earlier ones wait for room, or they for a guest.
		frames, room := d.src.EnableKicks(l.awaited(d.src))
		work = work || room || frames && !d.blocked() && !d.record.waits() || d.src.Changed()
	}
	for _, d := range l.idle {
		work = work || d.src.Changed()
	}
	return work
}

// waits is about frames that await a guest's return, see direction.settled.
func (l *lane) waits() bool {
	return slices.ContainsFunc(l.dirs, func(d *direction) bool { return d.record.waits() })
}

func (l *lane) blocked() bool { return slices.ContainsFunc(l.dirs, (*direction).blocked) }

// awaited reports whether frames wait for room at a port.
func (l *lane) awaited(p *member) bool {
	for _, d := range l.dirs {
		if d.dst == p && d.blocked() {
			return true
		}
	}
	return false
}

func (l *lane) disableKicks() {
	for _, d := range l.dirs {
		d.src.DisableKicks()
	}
}

func (l *lane) leave() {
	for _, d := range l.all {
		d.giveUp()
		d.src.Leave()
	}
}

// contain fails the port in whose peer's memory a fault struck; the
// others lose the bursts at hand. If it is no one's memory, all that have work fail.
func (l *lane) contain(err error) (failed []Port) {
	var atWork []*member
	for _, d := range l.dirs {
		atWork = append(atWork, d.src)
	}
	failed = contain(l.ports, atWork, err)
	for _, d := range l.all {
		if d.copied || !slices.Contains(failed, d.src.Port) {
			if again := guarded(d.fault); again != nil { // its memory is gone as well
				d.src.Fail(again)
				failed = append(failed, d.src.Port)
			}
		}
		d.forget()
	}
	return failed
}
