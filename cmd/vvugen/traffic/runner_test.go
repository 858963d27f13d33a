package traffic

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/vvugen/loopbacktest"
	"vvufwd/cmd/vvugen/port"
	"vvufwd/virtio"
)

// bench is one or two ports on a test back-end.
type bench struct {
	backend *loopbacktest.Backend
	ports   []*port.Port
}

func newBench(t testing.TB, ports int, cfg loopbacktest.Config, wants port.Config) *bench {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a", "b"}[:ports] {
		cfg.Sockets = append(cfg.Sockets, filepath.Join(dir, name))
	}
	if cfg.Features == 0 {
		cfg.Features = loopbacktest.AllFeatures
	}
	backend, err := loopbacktest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	b := &bench{backend: backend}
	for _, path := range cfg.Sockets {
		wants.Socket, wants.Timeout = path, 10*time.Second
		if wants.QueueSize == 0 {
			wants.QueueSize = 256
		}
		p, err := port.Open(context.Background(), wants)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		b.ports = append(b.ports, p)
	}
	return b
}

func (b *bench) bothWays() []Way {
	return []Way{{From: b.ports[0], To: b.ports[1]}, {From: b.ports[1], To: b.ports[0]}}
}

// verifyPlan sends count frames and checks all.
func verifyPlan(b *bench, size int, count uint64) Plan {
	return Plan{
		Size: size, Burst: 32, Count: count, Window: 256 / b.ports[0].BuffersPerFrame(), Verify: true, Checksum: true,
		Drain: time.Second, Stall: 10 * time.Second,
	}
}

func run(t *testing.T, plan Plan, ways []Way) Result {
	t.Helper()
	r, err := NewRunner(plan, ways)
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Run(context.Background(), -1)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestVerifyClean sends frames of many sizes under many features both ways and
// finds nothing wrong.
func TestVerifyClean(t *testing.T) {
	for name, tc := range map[string]struct {
		size     int
		full     bool
		shuffle  bool
		features virtio.Features
	}{
		"64":                      {size: 64, features: virtio.NetMrgRxbuf},
		"65 full":                 {size: 65, full: true, features: virtio.NetMrgRxbuf},
		"1518 headers":            {size: 1518, features: virtio.NetMrgRxbuf},
		"1518 full":               {size: 1518, full: true, features: virtio.NetMrgRxbuf},
		"2036, one buffer":        {size: 2036, features: virtio.NetMrgRxbuf},
		"2037, two buffers":       {size: 2037, full: true, features: virtio.NetMrgRxbuf},
		"9000 merged":             {size: 9000, full: true, features: virtio.NetMrgRxbuf},
		"9000 not merged":         {size: 9000, full: true},
		"indirect":                {size: 200, features: virtio.IndirectDesc | virtio.NetMrgRxbuf},
		"event idx":               {size: 200, features: virtio.EventIdx | virtio.NetMrgRxbuf},
		"in order":                {size: 200, features: virtio.InOrder | virtio.NetMrgRxbuf},
		"out of order":            {size: 200, full: true, shuffle: true, features: virtio.NetMrgRxbuf},
		"out of order, no merged": {size: 1518, shuffle: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, loopbacktest.Config{Shuffle: tc.shuffle}, port.Config{FrameSize: tc.size, Features: tc.features})
			if got := b.ports[0].Features(); got != tc.features|virtio.Version1 {
				t.Fatalf("features %v, want %v", got, tc.features|virtio.Version1)
			}
			plan := verifyPlan(b, tc.size, 5000)
			plan.Full, plan.Latency = tc.full, true
			for _, d := range run(t, plan, b.bothWays()).Directions {
				if d.Sent != 5000 || d.Received != 5000 || d.Lost != 0 || d.Faults.Any() {
					t.Errorf("%s: sent %d, received %d, lost %d, faults %+v", d.Name, d.Sent, d.Received, d.Lost, d.Faults)
				}
				if d.Latency.Count() != 5000 || d.Latency.Quantile(0.5) == 0 {
					t.Errorf("%s: %d latencies, p50 %d ns", d.Name, d.Latency.Count(), d.Latency.Quantile(0.5))
				}
			}
		})
	}
}

// TestVerifyFindsFaults injects one kind of fault every 100 frames and expects
// exactly that to be reported.
func TestVerifyFindsFaults(t *testing.T) {
	const every, count = 100, 5000
	const hits = count / every
	for name, tc := range map[string]struct {
		action loopbacktest.Action
		want   map[Kind]uint64
		first  map[Kind]uint64
	}{
		"drop":       {loopbacktest.Drop, map[Kind]uint64{Lost: hits}, map[Kind]uint64{Lost: 50}},
		"duplicate":  {loopbacktest.Duplicate, map[Kind]uint64{Duplicated: hits}, map[Kind]uint64{Duplicated: 50}},
		"delay":      {loopbacktest.Delay, map[Kind]uint64{Reordered: hits}, map[Kind]uint64{Reordered: 50}},
		"corrupt":    {loopbacktest.Corrupt, map[Kind]uint64{Corrupt: hits, Lost: hits}, map[Kind]uint64{Corrupt: 50, Lost: 50}},
		"restamp":    {loopbacktest.Restamp, map[Kind]uint64{Corrupt: hits, Lost: hits}, map[Kind]uint64{Corrupt: 50}},
		"truncate":   {loopbacktest.Truncate, map[Kind]uint64{WrongLength: hits}, map[Kind]uint64{WrongLength: 50}},
		"reheader":   {loopbacktest.Reheader, map[Kind]uint64{Foreign: hits, Lost: hits}, map[Kind]uint64{Foreign: 50}},
		"bad header": {loopbacktest.BadHeader, map[Kind]uint64{Malformed: hits, Lost: hits}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tamper := func(n uint64) loopbacktest.Action {
				if n < probeNumber && n%every == every/2 {
					return tc.action
				}
				return loopbacktest.Deliver
			}
			b := newBench(t, 2, loopbacktest.Config{Tamper: tamper}, port.Config{FrameSize: 300, Features: virtio.NetMrgRxbuf})
			plan := verifyPlan(b, 300, count)
			plan.Window /= 2 // room in the receive ring for repetitions, which would cost other frames their place
			d := run(t, plan, b.bothWays())
			for k := range kinds {
				if got := d.Directions[0].Faults[k].Count; got != tc.want[k] {
					t.Errorf("%d %v, want %d", got, k, tc.want[k])
				}
				if want, ok := tc.first[k]; ok && d.Directions[0].Faults[k].First != want {
					t.Errorf("first %v at %d, want %d", k, d.Directions[0].Faults[k].First, want)
				}
			}
			if d.Directions[0].Lost != tc.want[Lost] {
				t.Errorf("%d lost, want %d", d.Directions[0].Lost, tc.want[Lost])
			}
			if d.Directions[1].Faults.Any() {
				t.Errorf("the other direction has faults: %+v", d.Directions[1].Faults)
			}
		})
	}
}

// TestOneEnd measures a back-end that only takes, or only sends.
func TestOneEnd(t *testing.T) {
	plan := Plan{Size: 64, Burst: 32, Duration: 100 * time.Millisecond, Drain: time.Second, Stall: 10 * time.Second}
	t.Run("taking", func(t *testing.T) {
		b := newBench(t, 1, loopbacktest.Config{Mode: loopbacktest.Discard}, port.Config{FrameSize: 64})
		d := run(t, plan, []Way{{From: b.ports[0]}}).Directions[0]
		if d.Sent == 0 || d.Received != d.Sent || d.Lost != 0 {
			t.Errorf("sent %d, taken %d, lost %d", d.Sent, d.Received, d.Lost)
		}
	})
	t.Run("sending", func(t *testing.T) {
		b := newBench(t, 1, loopbacktest.Config{Mode: loopbacktest.Source}, port.Config{FrameSize: 64})
		d := run(t, plan, []Way{{To: b.ports[0]}}).Directions[0]
		if d.Sent != 0 || d.Received == 0 || d.Lost != 0 || d.Bytes != 64*d.Frames {
			t.Errorf("sent %d, received %d, %d bytes in %d frames, lost %d", d.Sent, d.Received, d.Bytes, d.Frames, d.Lost)
		}
	})
}

// TestRate sends at a rate and not more. How much less a busy machine makes it send is not for us to say; TestDue
// says what is sent when.
func TestRate(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
	plan := Plan{
		Size: 64, Burst: 32, Duration: 500 * time.Millisecond, Rate: 10000, Latency: true,
		Drain: time.Second, Stall: 10 * time.Second,
	}
	result := run(t, plan, b.bothWays())
	for _, d := range result.Directions {
		if most := plan.Rate * result.Elapsed.Seconds(); float64(d.Sent) > most+1 || d.Sent == 0 {
			t.Errorf("sent %d frames in %v, want %.0f at most", d.Sent, result.Elapsed, most)
		}
	}
}

// TestDue catches up with the rate, a burst at a time, after any time in which it did not look.
func TestDue(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
	r, err := NewRunner(Plan{Size: 64, Burst: 32, Count: 60, Rate: 10000, Drain: time.Second, Stall: time.Second}, b.bothWays())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   time.Duration
		sent uint64
	}{
		{0, 0}, {90 * time.Microsecond, 0}, {100 * time.Microsecond, 1}, {110 * time.Microsecond, 1}, {time.Millisecond, 10},
		{5 * time.Millisecond, 42}, {5 * time.Millisecond, 50}, {5 * time.Millisecond, 50}, {time.Second, 60},
	} {
		d := r.dirs[0]
		before := d.sent()
		if moved := d.send(int64(step.at)); d.sent() != step.sent || moved != (step.sent > before) {
			t.Fatalf("after %v %d frames are sent, want %d (%v)", step.at, d.sent(), step.sent, moved)
		}
	}
}

// TestStop ends a run early and still accounts for every frame.
func TestStop(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
	plan := verifyPlan(b, 64, 0)
	plan.Duration = time.Hour
	r, err := NewRunner(plan, b.bothWays())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	result, err := r.Run(ctx, -1)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range result.Directions {
		if d.Sent == 0 || d.Faults.Any() {
			t.Errorf("%s: sent %d, faults %+v", d.Name, d.Sent, d.Faults)
		}
		if p := r.Progress()[i]; p.Sent() != d.Sent || p.Received() != d.Received {
			t.Errorf("%s: progress ends at %d and %d, want %d and %d", d.Name, p.Sent(), p.Received(), d.Sent, d.Received)
		}
	}
}

// TestLossOfEverything has to end although a window stays shut.
func TestLossOfEverything(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{Tamper: func(n uint64) loopbacktest.Action {
		if n < probeNumber {
			return loopbacktest.Drop
		}
		return loopbacktest.Deliver
	}}, port.Config{FrameSize: 64})
	d := run(t, verifyPlan(b, 64, 600), []Way{{From: b.ports[0], To: b.ports[1]}}).Directions[0]
	if d.Sent != 600 || d.Received != 0 || d.Lost != 600 {
		t.Errorf("sent %d, received %d, lost %d", d.Sent, d.Received, d.Lost)
	}
}

// TestDeadBackends checks that a run ends when its back-end goes away or sleeps.
func TestDeadBackends(t *testing.T) {
	t.Run("sleeps", func(t *testing.T) {
		b := newBench(t, 2, loopbacktest.Config{Mode: loopbacktest.Idle}, port.Config{FrameSize: 64})
		plan := verifyPlan(b, 64, 600)
		plan.Stall = 200 * time.Millisecond
		wantError(t, plan, b.bothWays(), "has taken no frame for 200ms")
	})
	t.Run("sends nothing", func(t *testing.T) {
		b := newBench(t, 1, loopbacktest.Config{Mode: loopbacktest.Idle}, port.Config{FrameSize: 64})
		plan := Plan{Size: 64, Burst: 32, Duration: time.Hour, Drain: time.Second, Stall: 200 * time.Millisecond}
		wantError(t, plan, []Way{{To: b.ports[0]}}, "has sent no frame for 200ms")
	})
	t.Run("goes away", func(t *testing.T) {
		b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
		plan := verifyPlan(b, 64, 0)
		plan.Duration = time.Hour
		time.AfterFunc(200*time.Millisecond, b.backend.HangUp)
		wantError(t, plan, b.bothWays(), "closed the connection")
	})
}

func wantError(t *testing.T, plan Plan, ways []Way, want string) {
	t.Helper()
	r, err := NewRunner(plan, ways)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(context.Background(), -1); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func TestPin(t *testing.T) {
	b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: 64})
	r, err := NewRunner(verifyPlan(b, 64, 100), b.bothWays())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(context.Background(), 1023); err == nil || !strings.Contains(err.Error(), "--cpu 1023") {
		t.Errorf("error %v for a CPU that does not exist", err)
	}
	result, err := r.Run(context.Background(), 0)
	if err != nil || result.CPU != 0 {
		t.Errorf("CPU %d: %v", result.CPU, err)
	}
}

// TestNoAllocation runs the loop in all its forms.
func TestNoAllocation(t *testing.T) {
	for name, plan := range map[string]Plan{
		"count":  {Size: 64},
		"verify": {Size: 64, Verify: true, Checksum: true},
		"full":   {Size: 1518, Full: true, Verify: true, Checksum: true, Latency: true, Rate: 1e6},
		"merged": {Size: 9000, Verify: true, Checksum: true},
		"rests":  {Size: 64, Verify: true, Rate: 500000},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2, loopbacktest.Config{}, port.Config{FrameSize: plan.Size, Features: virtio.NetMrgRxbuf})
			plan.Burst, plan.Duration, plan.Drain, plan.Stall = 32, time.Hour, time.Second, time.Hour
			r, err := NewRunner(plan, b.bothWays())
			if err != nil {
				t.Fatal(err)
			}
			r.begin()
			round := func() {
				if more, err := r.step(); !more || err != nil {
					t.Fatalf("the loop has ended: %v", err)
				}
				runtime.Gosched() // lets the back-end run on the only processor that AllocsPerRun leaves
			}
			for range 200 {
				round() // the back-end's scratch memory grows
			}
			if n := testing.AllocsPerRun(1000, round); n != 0 {
				t.Errorf("%g allocations in a round, want 0", n)
			}
			if r.dirs[0].sink.received < 1000 || r.dirs[0].sink.faults.Any() {
				t.Errorf("received %d frames, faults %+v", r.dirs[0].sink.received, r.dirs[0].sink.faults)
			}
		})
	}
}
