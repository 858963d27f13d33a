package report

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"vvufwd/cmd/internal/measure"
	"vvufwd/cmd/vvugen/traffic"
	"vvufwd/virtio"
)

func sample() Run {
	h := new(measure.Histogram)
	for range 99 {
		h.Add(2000)
	}
	h.Add(50000)
	run := Run{
		Plan:      traffic.Plan{Size: 1518, Full: true, Burst: 32, Verify: true, Latency: true},
		QueueSize: 256, Features: virtio.Version1 | virtio.NetMrgRxbuf,
		Result: traffic.Result{Elapsed: 2 * time.Second, CPU: 1, Idle: 0.25, Delayed: 0.125, Directions: []traffic.DirectionResult{{
			Name: "a -> b", Sent: 4000010, Received: 4000000, Lost: 10, Frames: 4000000, Bytes: 4000000 * 1518, Kicks: 3, Latency: h,
		}}},
	}
	run.Result.Directions[0].Faults[traffic.Lost] = traffic.Fault{Count: 10, First: 77}
	return run
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1518-byte frames, payload full, bursts of 32, rings of 256, 4 KiB pages, CPU 1, 2s\n",
		"features MRG_RXBUF|VERSION_1, idle in 25 % of rounds, preempted 12.5 % of the time\n",
		"2.000  24.288  4000010   4000000    10      3  a -> b\n",
		"2.48", "2.00", "50.00", "100  a -> b\n",
		"10        77  lost (sent, never received), a -> b\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, b.String())
		}
	}
	run := sample()
	run.Result.Directions[0].Faults = traffic.Faults{}
	b.Reset()
	if err := Table(&b, run); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "verified: every frame arrived once, in order and unchanged") {
		t.Errorf("table does not say that all is well:\n%s", b.String())
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != 1 {
		t.Errorf("not one line: %q", b.String())
	}
	var got struct {
		CPU        *int
		IdleRounds float64 `json:"idle_rounds"`
		Delayed    float64
		Verified   *bool
		Mpps, Gbps float64
		Directions []struct {
			Sent, Received, Lost uint64
			Latency              map[string]float64 `json:"latency_us"`
			Faults               map[string]uint64
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	d := got.Directions[0]
	if got.CPU == nil || *got.CPU != 1 || got.Verified == nil || *got.Verified || got.Mpps != 2 || got.IdleRounds != 0.25 || got.Delayed != 0.125 || got.Gbps != 24.288 ||
		d.Sent != 4000010 || d.Received != 4000000 || d.Lost != 10 || d.Latency["max"] != 50 || d.Latency["p50"] < 1.99 ||
		d.Latency["p50"] > 2.04 || d.Faults["lost"] != 10 || len(d.Faults) != 1 {
		t.Errorf("got %s", b.String())
	}
}

// TestPairs sums several pairs up.
func TestPairs(t *testing.T) {
	direction := func(pair int, frames uint64) traffic.DirectionResult {
		return traffic.DirectionResult{Name: "x", Pair: pair, Sent: frames + 1, Received: frames, Lost: 1, Frames: frames, Bytes: 64 * frames, Kicks: 2}
	}
	run := Run{Result: traffic.Result{Elapsed: time.Second, CPU: -1, Directions: []traffic.DirectionResult{
		direction(0, 1000000), direction(0, 500000), direction(1, 2000000), direction(1, 1000000),
	}}}
	var b strings.Builder
	if err := Table(&b, run); err != nil {
		t.Fatal(err)
	}
	if want := "4.500   2.304  4500004   4500000     4      8  all 2 pairs; 1.500 to 3.000 Mpps each\n"; !strings.Contains(b.String(), want) {
		t.Errorf("table lacks %q:\n%s", want, b.String())
	}
	b.Reset()
	if err := JSON(&b, run); err != nil {
		t.Fatal(err)
	}
	if want := `"pairs_mpps":[1.5,3],`; !strings.Contains(b.String(), want) {
		t.Errorf("%s lacks %s", b.String(), want)
	}
}

// TestJSONOfNothing has null where nothing was measured.
func TestJSONOfNothing(t *testing.T) {
	run := Run{Result: traffic.Result{Elapsed: time.Second, CPU: -1, Delayed: -1, Directions: make([]traffic.DirectionResult, 1)}}
	var b strings.Builder
	if err := JSON(&b, run); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"cpu":null`, `"delayed":null`, `"verified":null`, `"latency_us":null`, `"faults":null`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s lacks %s", b.String(), want)
		}
	}
}

// lockedBuilder is written by Follow's goroutine and read by the test.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestFollow(t *testing.T) {
	var out lockedBuilder
	stop := follow(&out, []*traffic.Progress{{Name: "a -> b"}, {Name: "b -> a"}}, time.Millisecond)
	for deadline := time.Now().Add(5 * time.Second); strings.Count(out.String(), "b -> a\n") < 3; {
		if time.Now().After(deadline) {
			t.Fatalf("no three lines in 5 s: %q", out.String())
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	stop() // again does no harm
	after := out.String()
	time.Sleep(10 * time.Millisecond)
	if out.String() != after {
		t.Error("a line came after stop")
	}
	if !strings.Contains(after, "Mpps  sent 0 received 0  a -> b\n") {
		t.Errorf("got %q", after)
	}
}
