package hostile

import (
	"slices"
	"testing"
	"time"
)

// phase is what happens to the other pair while the victim's speed is measured.
type phase struct {
	name  string
	play  func(f *forwarder, b *guest, s *assault) error
	begun time.Time
	times [][2]time.Time
}

// newPhases are no one, a good neighbour, which takes its share of the machine, and
// an attacker, which should not take more.
func newPhases() []*phase {
	return []*phase{
		{name: "alone", play: func(*forwarder, *guest, *assault) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}},
		{name: "good neighbour", play: neighbour},
		{name: "attacker", play: func(_ *forwarder, b *guest, s *assault) error {
			if err := s.play(); err != nil {
				return err
			}
			// The partner sends, so that attacks on receive rings find their mark.
			for range 4 {
				b.send(testFrame(0, 200))
			}
			return b.drain()
		}},
	}
}

// neighbour is traffic as fast as it goes for a while, from a front-end that then
// leaves.
func neighbour(f *forwarder, b *guest, _ *assault) error {
	for i := range b.rings { // whatever happened to it before
		if err := b.restart(i, true); err != nil {
			return err
		}
	}
	a, err := newGuest(f.sockets[0], defaultFeatures)
	if err != nil {
		return err
	}
	defer a.leave()
	a.fill()
	if err := a.start(); err != nil {
		return err
	}
	tr, other := startTraffic(a), startTraffic(b)
	time.Sleep(200 * time.Millisecond)
	if err := tr.stop(); err != nil {
		return err
	}
	return other.stop()
}

func (p *phase) begin() { p.begun = time.Now() }
func (p *phase) end()   { p.times = append(p.times, [2]time.Time{p.begun, time.Now()}) }

// covers reports whether a whole second that ended at some time lies in the phase.
func (p *phase) covers(end time.Time) bool {
	return slices.ContainsFunc(p.times, func(t [2]time.Time) bool {
		return end.Add(-time.Second).After(t[0]) && end.Before(t[1])
	})
}

// steady is how much of its median speed beside a good neighbour the victim keeps
// beside an attacker. The spread within one phase of a quiet machine is wider.
const steady = 0.9

// report shows the victim's speed per second, direction by direction, in each
// phase. An attacker must not have stalled it, on a machine that gives it some time in each second
// otherwise, and if it was looked at long enough for
// medians, must not have taken more from it than a good neighbour.
func report(t *testing.T, phases []*phase, rates []rate, long bool) {
	t.Helper()
	medians, stalled := map[string]float64{}, map[string]bool{}
	t.Logf("victim, Mpps per direction and second %25s %8s %8s %8s", "seconds", "min", "median", "max")
	for _, p := range phases {
		var speeds []float64
		for _, r := range rates {
			if p.covers(r.at) {
				speeds = append(speeds, r.mpps)
			}
		}
		if len(speeds) == 0 {
			t.Errorf("no speed was measured: %s", p.name)
			continue
		}
		slices.Sort(speeds)
		medians[p.name] = speeds[len(speeds)/2]
		t.Logf("%-40s %22d %8.3f %8.3f %8.3f", p.name, len(speeds)/2, speeds[0], speeds[len(speeds)/2], speeds[len(speeds)-1])
		stalled[p.name] = speeds[0] == 0
	}
	switch {
	case !stalled["attacker"]:
	case stalled["alone"] || stalled["good neighbour"]:
		t.Log("the victim stalled for a second at a time, with an attacker and without: other programs take all processors")
	default:
		t.Error("an attacker stalled the victim for a second")
	}
	if attacked, fair := medians["attacker"], medians["good neighbour"]; long && attacked < steady*fair {
		t.Errorf("an attacker slows the victim down: %.3f Mpps in the median, %.3f beside a good neighbour", attacked, fair)
	}
}
