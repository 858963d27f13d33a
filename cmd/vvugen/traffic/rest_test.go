package traffic

import (
	"testing"
	"time"

	"vvufwd/cmd/vvugen/loopbacktest"
	"vvufwd/cmd/vvugen/port"
)

// TestRestLimit has loops rest that have the time for it, and no longer than a ring has room for.
func TestRestLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		plan Plan
		room int
		want time.Duration
	}{
		"full speed":         {Plan{}, 256, 0},
		"a frame a second":   {Plan{Rate: 1}, 256, time.Millisecond},
		"20 a millisecond":   {Plan{Rate: 20e3}, 256, time.Millisecond},
		"a ring fills":       {Plan{Rate: 100e3}, 256, 320 * time.Microsecond},
		"smaller ring":       {Plan{Rate: 20e3}, 16, 100 * time.Microsecond},
		"narrow window":      {Plan{Rate: 100}, 4, 0},
		"the highest rate":   {Plan{Rate: 640e3}, 256, 50 * time.Microsecond},
		"too high a rate":    {Plan{Rate: 650e3}, 256, 0},
		"latency is in view": {Plan{Rate: 100, Latency: true}, 256, 0},
	} {
		if got := restLimit(&tc.plan, tc.room); got != tc.want {
			t.Errorf("%s: rests for %v, want %v", name, got, tc.want)
		}
	}
}

// TestPause rests to the next frame where frames are rare, and over some of them where they are not.
func TestPause(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
	plan := Plan{Size: 64, Burst: 32, Count: 11, Drain: time.Second, Stall: time.Second}
	for name, tc := range map[string]struct {
		rate       float64
		sent       uint64 // each way
		back       uint64
		now, pause time.Duration
		since      time.Duration // it was tried
	}{
		"far":               {100, 3, 3, 35 * time.Millisecond, time.Millisecond, 0},
		"near":              {100, 3, 3, 39700 * time.Microsecond, 300 * time.Microsecond, 0},
		"very near":         {100, 3, 3, 39990 * time.Microsecond, 50 * time.Microsecond, 0},
		"one way is nearer": {100, 4, 3, 39700 * time.Microsecond, 300 * time.Microsecond, 0},
		"due":               {100, 3, 3, 41 * time.Millisecond, time.Millisecond, 0}, // the window is shut, or a ring is full
		"due meanwhile":     {100, 3, 3, 40020 * time.Microsecond, 50 * time.Microsecond, 30 * time.Microsecond},
		"that was all":      {100, 11, 11, 119700 * time.Microsecond, time.Millisecond, 0},
		"often":             {20e3, 3, 3, 190 * time.Microsecond, time.Millisecond, 0},
	} {
		plan.Rate = tc.rate
		r, err := NewRunner(plan, b.bothWays())
		if err != nil {
			t.Fatal(err)
		}
		r.dirs[0].source.sent, r.dirs[1].source.sent = tc.sent, tc.back
		if got := r.pause(int64(tc.now-tc.since), int64(tc.now)); got.Round(time.Microsecond) != tc.pause {
			t.Errorf("%s: rests for %v, want %v", name, got, tc.pause)
		}
	}
}

// TestSmallRing sends at a rate into a ring that is smaller than a burst, and than what becomes due while others have the processor.
func TestSmallRing(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64, QueueSize: 16})
	for _, rate := range []float64{0, 1e5} {
		plan := Plan{Size: 64, Burst: 32, Count: 2000, Rate: rate, Verify: true, Drain: 100 * time.Millisecond, Stall: 10 * time.Second}
		r, err := NewRunner(plan, b.bothWays())
		if err != nil {
			t.Fatal(err)
		}
		result, err := r.Run(t.Context(), -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range result.Directions {
			if d.Sent != plan.Count {
				t.Errorf("%s at %g: sent %d of %d", d.Name, rate, d.Sent, plan.Count)
			}
		}
	}
}

// TestRests counts rounds: of those in which nothing happens there is one a rest, on a machine of any speed. What
// does not rest makes as many as it can.
func TestRests(t *testing.T) {
	for name, tc := range map[string]struct {
		rate    float64
		latency bool
		rests   bool
	}{
		"at a rate":    {10000, false, true},
		"rarely":       {200, false, true},
		"latency":      {10000, true, false},
		"as it can":    {0, false, false},
		"a great rate": {1e6, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
			plan := Plan{
				Size: 64, Burst: 32, Duration: 300 * time.Millisecond, Rate: tc.rate, Window: 256, Verify: true, Latency: tc.latency,
				Drain: 10 * time.Second, Stall: 10 * time.Second,
			}
			r, err := NewRunner(plan, b.bothWays())
			if err != nil {
				t.Fatal(err)
			}
			cpu := -1
			if !tc.rests {
				cpu = 0
			}
			result, err := r.Run(t.Context(), cpu)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range result.Directions {
				if tc.rests && (d.Received != d.Sent || d.Faults.Any()) {
					t.Errorf("%s: sent %d, received %d, faults %+v", d.Name, d.Sent, d.Received, d.Faults)
				}
				if most := tc.rate * result.Elapsed.Seconds(); tc.rate > 0 && float64(d.Sent) > most+1 {
					t.Errorf("%s: sent %d frames in %v, want %.0f at most", d.Name, d.Sent, result.Elapsed, most)
				}
			}
			if !tc.rests {
				if r.rested != 0 {
					t.Errorf("rested for %v", time.Duration(r.rested))
				}
				return
			}
			frames := result.Directions[0].Sent + result.Directions[1].Sent // before which a rest is shorter; signals end some early
			if rests := uint64(result.Elapsed/longestRest) + frames; r.idle > 2*rests {
				t.Errorf("%d rounds in vain in %v, want %d", r.idle, result.Elapsed, rests)
			}
			if share := float64(r.rested) / float64(result.Elapsed); share == 0 || result.Idle < share || result.Idle > 1 {
				t.Errorf("idle for %g of the time, at rest for %g", result.Idle, share)
			}
		})
	}
}

// TestRestsWhileItWaits has a back-end lose all frames, so that the window stays shut: a loop without a CPU of its own leaves
// it to others, after some rounds each time, and one that has one keeps looking.
func TestRestsWhileItWaits(t *testing.T) {
	for name, cpu := range map[string]int{"shared": -1, "its own": 0} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, loopbacktest.Config{Tamper: func(n uint64) loopbacktest.Action {
				if n < probeNumber {
					return loopbacktest.Drop
				}
				return loopbacktest.Deliver
			}}, port.Config{FrameSize: 64})
			r, err := NewRunner(verifyPlan(b, 64, 300), []Way{{From: b.ports[0], To: b.ports[1]}})
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Run(t.Context(), cpu)
			if err != nil {
				t.Fatal(err)
			}
			if cpu >= 0 {
				if r.rested != 0 {
					t.Errorf("rested for %v", time.Duration(r.rested))
				}
				return
			}
			rests := 2 * uint64(result.Elapsed/waitRest) // signals end some early
			if most := rests + (r.round-r.idle)*(waitRounds+1); r.idle > most {
				t.Errorf("%d rounds in vain in %v, want %d at most", r.idle, result.Elapsed, most)
			}
			if r.rested == 0 || result.Idle < 0.9 {
				t.Errorf("rested for %v, idle for %g of the time", time.Duration(r.rested), result.Idle)
			}
		})
	}
}
