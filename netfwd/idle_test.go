package netfwd

import (
	"math/rand"
	"testing"
	"time"
)

// idleRun plays a loop with an idlePolicy: frames come at given times, a look takes a fixed time,
// and a kick or the end of a sleep wakes it at once.
type idleRun struct {
	policy idlePolicy
	now    time.Time
	look   time.Duration
	tardy  func() time.Duration // how late alarms are; nil: not at all

	polled time.Duration // in looks that saw nothing
	caught int           // frames that came while it polled
}

const idleLook = 8 * time.Microsecond

func newIdleRun(after time.Duration) *idleRun {
	return &idleRun{policy: idlePolicy{after: after}, now: time.Unix(1000, 0), look: idleLook}
}

// until plays until the next frame, which comes gap after the last one.
func (r *idleRun) until(gap time.Duration) {
	arrival := r.now.Add(gap)
	for r.now.Before(arrival) {
		sleep, limit := r.policy.idle(r.now)
		if !sleep {
			r.now = r.now.Add(r.look)
			r.polled += r.look
			if !r.now.Before(arrival) {
				r.caught++
			}
			continue
		}
		r.policy.sleeps()
		if limit >= 0 && r.tardy != nil {
			limit += r.tardy()
		}
		if limit >= 0 && r.now.Add(limit).Before(arrival) {
			r.now = r.now.Add(limit)
			r.policy.woke(r.now)
			continue
		}
		r.now = arrival
		r.policy.woke(r.now)
		r.policy.kicked()
	}
	r.policy.worked(r.now)
}

// play plays n frames, and returns what share of the time was polled and of the frames was caught.
func (r *idleRun) play(n int, gap func(i int) time.Duration) (polled, caught float64) {
	begin := r.now
	r.polled, r.caught = 0, 0
	for i := range n {
		r.until(gap(i))
	}
	return float64(r.polled) / float64(r.now.Sub(begin)), float64(r.caught) / float64(n)
}

func always(gap time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return gap }
}

// TestIdlePolicyAwaitsRegularFrames wants frames at regular times to be polled for, and little
// else.
func TestIdlePolicyAwaitsRegularFrames(t *testing.T) {
	const after = 500 * time.Microsecond
	for _, gap := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 10 * time.Millisecond, 200 * time.Millisecond, time.Second} {
		r := newIdleRun(after)
		r.play(20, always(gap)) // to learn it
		polled, caught := r.play(1000, always(gap))
		if caught < 0.99 {
			t.Errorf("every %v: %.2f of the frames were polled for", gap, caught)
		}
		if most := float64(after)/float64(gap) + 0.25; polled > most {
			t.Errorf("every %v: polled %.3f of the time, want %.3f at most", gap, polled, most)
		}
		// They stop: it gives up.
		before := r.polled
		r.until(time.Hour)
		if extra := r.polled - before; extra > after+minLooks*idleLook+gap/4 {
			t.Errorf("every %v, then none: polled %v more", gap, extra)
		}
	}
	// Each comes with a jitter.
	random := rand.New(rand.NewSource(1))
	r := newIdleRun(after)
	jitter := func(int) time.Duration {
		return 50*time.Millisecond + time.Duration(random.Intn(2000)-1000)*time.Microsecond
	}
	r.play(20, jitter)
	if _, caught := r.play(1000, jitter); caught < 0.9 {
		t.Errorf("with a jitter: %.2f of the frames were polled for", caught)
	}
}

// TestIdlePolicyLearnsSoon wants the fifth of regular frames to be polled for.
func TestIdlePolicyLearnsSoon(t *testing.T) {
	for _, gap := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, time.Second} {
		r := newIdleRun(500 * time.Microsecond)
		r.until(time.Hour) // the first
		r.play(3, always(gap))
		if _, caught := r.play(1, always(gap)); caught < 1 {
			t.Errorf("every %v: the fifth was not polled for", gap)
		}
	}
}

// TestIdlePolicyIgnoresStrays has frames now and then between those that are regular, and answers to these: all that are
// regular are polled for as before, and that costs little.
func TestIdlePolicyIgnoresStrays(t *testing.T) {
	const after, answer = 500 * time.Microsecond, 1800 * time.Microsecond
	random := rand.New(rand.NewSource(4))
	for _, period := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
		for _, each := range []int{5, 20} {
			r := newIdleRun(after)
			ping := func(i int) (polled, caught float64) {
				var stray time.Duration
				if i%each == each-1 {
					stray = period/8 + time.Duration(random.Int63n(int64(period/2)))
					r.until(stray)
				}
				polled, caught = r.play(2, func(i int) time.Duration { return []time.Duration{period - answer - stray, answer}[i] })
				return polled, caught
			}
			for i := range 4 * each {
				ping(i)
			}
			var polled, caught float64
			const n = 200
			for i := range n {
				p, c := ping(i)
				polled, caught = polled+p/n, caught+c/n
			}
			if most := 0.02 + float64(10*after)/float64(period); caught < 0.99 || polled > most {
				t.Errorf("each %v, and one more after %d: %.2f of the frames were polled for, in %.3f of the time, want %.3f at most", period, each, caught, polled, most)
			}
		}
	}
}

// TestIdlePolicyForgets changes the time between frames: the new one is learned within a few, also if the
// old one is a multiple of it.
func TestIdlePolicyForgets(t *testing.T) {
	for _, c := range []struct{ from, to time.Duration }{
		{200, 100}, {200, 67}, {200, 10}, {1000, 200}, {1000, 900}, {10, 200}, {100, 200}, {200, 230},
	} {
		r := newIdleRun(500 * time.Microsecond)
		r.play(100, always(c.from*time.Millisecond))
		r.play(14, always(c.to*time.Millisecond))
		if _, caught := r.play(50, always(c.to*time.Millisecond)); caught < 1 {
			t.Errorf("%d ms after %d ms: %.2f of the frames were polled for", c.to, c.from, caught)
		}
	}
}

// TestIdlePolicyForgivesLateFrames has each tenth frame, and with it all that follow, come later than it is waited for, but
// within an eighth of the time, as with a ping whose processor was away: the next one is polled for.
func TestIdlePolicyForgivesLateFrames(t *testing.T) {
	r := newIdleRun(500 * time.Microsecond)
	gap := func(i int) time.Duration { return 100*time.Millisecond + time.Duration(i%10/9)*6*time.Millisecond }
	r.play(30, gap)
	if _, caught := r.play(200, gap); caught < 0.9 {
		t.Errorf("%.2f of the frames were polled for", caught)
	}
}

// TestIdlePolicyKnowsLateAlarms has alarms that come late, as in an emulated machine, by more than the margin: the loop
// sets them earlier by what it has seen, and polls little more for it. When they are in time again
// it forgets.
func TestIdlePolicyKnowsLateAlarms(t *testing.T) {
	const after = 500 * time.Microsecond
	random := rand.New(rand.NewSource(3))
	for _, gap := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
		r := newIdleRun(after)
		r.tardy = func() time.Duration { return time.Millisecond + time.Duration(random.Intn(500))*time.Microsecond }
		r.play(30, always(gap))
		polled, caught := r.play(500, always(gap))
		if most := float64(after+time.Millisecond)/float64(gap) + 0.01; caught < 0.98 || polled > most {
			t.Errorf("every %v: %.2f of the frames were polled for, in %.3f of the time, want %.3f at most", gap, caught, polled, most)
		}
		r.tardy = nil
		r.play(40, always(gap))
		polled, caught = r.play(500, always(gap))
		if most := float64(after+200*time.Microsecond)/float64(gap) + 0.01; caught < 1 || polled > most {
			t.Errorf("every %v, alarms in time: %.2f of the frames were polled for, in %.3f of the time, want %.3f at most", gap, caught, polled, most)
		}
	}
	// However late they are, that costs a quarter of the time at most, with the margin.
	for _, late := range []time.Duration{10 * time.Millisecond, time.Second} {
		const gap = 20 * time.Millisecond
		r := newIdleRun(after)
		turn := 0
		r.tardy = func() time.Duration { turn++; return time.Duration(turn%2) * late }
		r.play(30, always(gap))
		if polled, _ := r.play(500, always(gap)); polled > 0.25+float64(after)/float64(gap) {
			t.Errorf("alarms %v late: polled %.3f of the time", late, polled)
		}
	}
}

// TestIdlePolicyIsBounded wants no pattern of frames to cost more than is promised: IdleAfter (or the
// least looks) for each frame, and half of all time.
func TestIdlePolicyIsBounded(t *testing.T) {
	const after = 500 * time.Microsecond
	random := rand.New(rand.NewSource(2))
	for name, gap := range map[string]func(int) time.Duration{
		"exponential, 1 ms":   func(int) time.Duration { return time.Duration(random.ExpFloat64() * float64(time.Millisecond)) },
		"exponential, 3 ms":   func(int) time.Duration { return time.Duration(random.ExpFloat64() * float64(3*time.Millisecond)) },
		"exponential, 50 ms":  func(int) time.Duration { return time.Duration(random.ExpFloat64() * float64(50*time.Millisecond)) },
		"just after the wish": always(after + 10*time.Microsecond),
		"just after the most": always(maxWindow*after + 10*time.Microsecond),
		"now early, now late": func(i int) time.Duration { return time.Duration(1+i%2*5) * time.Millisecond },
		"five, then late":     func(i int) time.Duration { return time.Duration(2+i%6/5*30) * time.Millisecond },
	} {
		r := newIdleRun(after)
		r.play(50, gap)
		begin := r.now
		polled, _ := r.play(4000, gap)
		mean := r.now.Sub(begin) / 4000
		if most := min(1, float64(after)/float64(mean)) + 0.5; polled > most {
			t.Errorf("%s: polled %.3f of the time, want %.3f at most", name, polled, most)
		}
	}
}

// TestIdlePolicyPollsLongerWhenItPays has frames that come irregularly, soon after the
// loop would have fallen asleep: more of them are caught than without.
func TestIdlePolicyPollsLongerWhenItPays(t *testing.T) {
	const after = 500 * time.Microsecond
	gap := func(i int) time.Duration { // often enough in time, and then so long that credit is saved
		return []time.Duration{900, 1300, 700, 1100, 60000}[i*7%5] * time.Microsecond
	}
	r := newIdleRun(after)
	r.play(50, gap)
	if _, caught := r.play(1000, gap); caught < 0.5 {
		t.Errorf("%.2f of the frames were polled for", caught)
	}
}

// TestIdlePolicyCountsLooks has a processor that is away for most of the time: a time without frames
// that no one looked at does not count.
func TestIdlePolicyCountsLooks(t *testing.T) {
	r := newIdleRun(500 * time.Microsecond)
	r.policy.worked(r.now)
	for i := range minLooks - 1 {
		r.now = r.now.Add(10 * time.Millisecond)
		if sleep, _ := r.policy.idle(r.now); sleep {
			t.Fatalf("sleeps after %d looks", i+1)
		}
	}
	if sleep, limit := r.policy.idle(r.now); !sleep || limit != forever {
		t.Errorf("after %d looks it sleeps: %v, for %v", minLooks, sleep, limit)
	}
}

// TestIdlePolicyKeepsItsMeaning: 0 sleeps at once, less than that never.
func TestIdlePolicyKeepsItsMeaning(t *testing.T) {
	r := newIdleRun(0)
	r.play(10, always(time.Millisecond))
	if sleep, limit := r.policy.idle(r.now); !sleep || limit != forever {
		t.Errorf("--idle-after 0s: sleeps %v, for %v", sleep, limit)
	}
	r = newIdleRun(-1)
	r.policy.worked(r.now)
	for range 1000 {
		r.now = r.now.Add(time.Minute)
		if sleep, _ := r.policy.idle(r.now); sleep {
			t.Fatal("--idle-after -1s sleeps")
		}
	}
	// A wake-up for nothing, by statistics for one, is followed by another sleep at once; one by a
	// kick by another look at least as long as after a frame.
	r = newIdleRun(time.Millisecond)
	r.until(time.Second)
	r.policy.worked(r.now)
	for r.policy.looks == 0 || !r.policy.slept {
		r.now = r.now.Add(r.look)
		if sleep, _ := r.policy.idle(r.now); sleep {
			r.policy.sleeps()
		}
	}
	r.now = r.now.Add(time.Second)
	if sleep, _ := r.policy.idle(r.now); !sleep {
		t.Error("polls though no kick came")
	}
	r.policy.kicked()
	if sleep, _ := r.policy.idle(r.now); sleep {
		t.Error("sleeps at once after a kick")
	}
}

// TestIdlePolicyAwaitsAnswers plays pings: a request at regular times, and its answer some time after
// it, which is longer than IdleAfter. Both are to be polled for, which takes little.
func TestIdlePolicyAwaitsAnswers(t *testing.T) {
	const after = 500 * time.Microsecond
	for _, answer := range []time.Duration{700 * time.Microsecond, 1800 * time.Microsecond, 2500 * time.Microsecond} {
		for _, period := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
			r := newIdleRun(after)
			pings := func(i int) time.Duration {
				if i%2 == 1 {
					return answer
				}
				return period - answer
			}
			r.play(30, pings) // to learn it
			if polled, caught := r.play(100, pings); caught < 1 || polled > 0.15 {
				t.Errorf("answers %v after, each %v: %.0f %% of the frames were polled for, in %.1f %% of the time", answer, period, 100*caught, 100*polled)
			}
			// Without answers it stops to look for them.
			r.play(10, always(period))
			if polled, caught := r.play(100, always(period)); caught < 1 || polled > 0.05 {
				t.Errorf("no answers any more, each %v: %.0f %% of the frames were polled for, in %.1f %% of the time", period, 100*caught, 100*polled)
			}
		}
	}
}

// TestIdlePolicyIsNotChargedForOthers: the processor was away for long in the midst of polling.
func TestIdlePolicyIsNotChargedForOthers(t *testing.T) {
	const after = 500 * time.Microsecond
	p := idlePolicy{after: after}
	now := time.Unix(1, 0)
	look := func(d time.Duration) bool {
		now = now.Add(d)
		sleep, _ := p.idle(now)
		if sleep {
			p.sleeps()
		}
		return sleep
	}
	p.worked(now)
	for range 4000 { // credit is saved meanwhile
		look(100 * time.Microsecond)
	}
	for range 4 { // frames that come soon after it fell asleep: it pays to poll longer
		for !look(20 * time.Microsecond) {
		}
		now = now.Add(after / 2)
		p.worked(now)
	}
	if p.window <= after || p.credit <= 0 {
		t.Fatalf("window %v, credit %v: nothing was learned", p.window, p.credit)
	}
	for now.Sub(p.last) <= after {
		look(20 * time.Microsecond)
	}
	before := p.credit
	look(400 * time.Millisecond)
	if p.credit < before-after || p.polling(now) <= after {
		t.Errorf("the credit went from %v to %v, and it polls for %v only", before, p.credit, p.polling(now))
	}
}
