package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/peer"
	"vvufwd/cmd/vvubench/plan"
)

// bench is two peers and a load that exist in memory only, and what they did.
type bench struct {
	running string   // peer
	log     []string // "peer case rate"
	fail    string   // peer that cannot start, "load" or "silence"
	delayed []float64
	moved   []float64 // distances, in the order in which they are asked for
	closed  int

	switches   []bool // who was to be one
	interfaces []string
}

// fakePeer makes 2 Mpps per letter of its name possible.
type fakePeer struct {
	bench *bench
	name  string
}

func (p *fakePeer) Name() string    { return p.name }
func (p *fakePeer) Version() string { return "1" }

func (p *fakePeer) Start(_ context.Context, job peer.Job) (peer.Forwarder, error) {
	if p.bench.fail == p.name {
		return nil, errors.New("no memory")
	}
	if job.CPU != 3 || job.ControlCPU != 4 || p.bench.running != "" {
		return nil, fmt.Errorf("job %+v while %q runs", job, p.bench.running)
	}
	p.bench.running = p.name
	p.bench.interfaces = append(p.bench.interfaces, job.Interfaces...)
	p.bench.switches = append(p.bench.switches, job.Switch)
	return p, nil
}

func (p *fakePeer) PID() int { return os.Getpid() }

func (p *fakePeer) Stop(context.Context) (peer.Work, error) {
	p.bench.running = ""
	return peer.Work{Packets: 10, BusyNS: 100 * float64(len(p.name))}, nil
}

func (p *fakePeer) Close() error {
	p.bench.running = ""
	p.bench.closed++
	return nil
}

// Run implements load.Load.
func (b *bench) Run(_ context.Context, job load.Job, begin func()) (load.Outcome, error) {
	b.log = append(b.log, fmt.Sprintf("%s %s %g", b.running, job.ID, job.Rate/1e6))
	if b.fail != "silence" {
		begin()
	}
	if b.fail == "load" {
		return load.Outcome{}, errors.New("no frame arrived")
	}
	if len(job.Pairs) != job.Case.Pairs || job.CPU != 4 || job.OtherCPU != 3 {
		return load.Outcome{}, fmt.Errorf("job %+v", job)
	}
	o := load.Outcome{Mpps: 2 * float64(len(b.running))}
	if len(b.delayed) > 0 {
		o.Delayed, b.delayed = b.delayed[0], b.delayed[1:]
	}
	return o, nil
}

// distance is 60 ns unless the test says otherwise.
func (b *bench) distance(cpu, other int) (float64, error) {
	if cpu != 3 || other != 4 || b.running != "" {
		return 0, fmt.Errorf("the distance of CPUs %d and %d while %q runs", cpu, other, b.running)
	}
	if len(b.moved) == 0 {
		return 60, nil
	}
	ns := b.moved[0]
	b.moved = b.moved[1:]
	return ns, nil
}

// deaf hears only what the load says.
type deaf struct{}

func (deaf) End(generator float64) (noise.Report, error) {
	return noise.Report{Generator: generator}, nil
}

func newRunner(t *testing.T, b *bench, rounds int) *Runner {
	return &Runner{
		Peers: [2]peer.Peer{&fakePeer{b, "aaa"}, &fakePeer{b, "b"}}, Load: b, Rounds: rounds,
		Duration: time.Second, CPU: 3, LoadCPU: 4, Dir: t.TempDir(), Progress: func(string) {},
		begin:    func(int, ...int) (listener, error) { return deaf{}, nil },
		distance: b.distance,
	}
}

// TestOrder checks that cases and peers take turns, that dependent cases come last
// and what rate they are measured at.
func TestOrder(t *testing.T) {
	b := &bench{}
	cases := []plan.Case{{ID: "x", Pairs: 1}, {ID: "half", Pairs: 1, HalfOf: "x", Latency: true}, {ID: "y", Pairs: 2}}
	results, err := newRunner(t, b, 2).Run(context.Background(), cases)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"aaa x 0", "b x 0", "aaa y 0", "b y 0", // round 1
		"b x 0", "aaa x 0", "b y 0", "aaa y 0", // round 2, the other one first
		"aaa half 1", "b half 1", "b half 1", "aaa half 1",
	}
	if diff := cmp.Diff(want, b.log); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
	if len(results) != 3 || b.closed != len(want) {
		t.Fatalf("%d results, %d closed", len(results), b.closed)
	}
	for _, r := range results {
		for p, mpps := range []float64{6, 2} {
			for _, s := range r.Samples[p] {
				if s.Mpps != mpps || s.BusyNS != 5*mpps {
					t.Errorf("%s, peer %d: %+v", r.ID, p, s)
				}
			}
			if len(r.Samples[p]) != 2 {
				t.Errorf("%s, peer %d: %d samples", r.ID, p, len(r.Samples[p]))
			}
		}
	}
}

// TestOnlyVvufwdIsASwitch: what it is compared with need not be able to.
func TestOnlyVvufwdIsASwitch(t *testing.T) {
	b := &bench{}
	if _, err := newRunner(t, b, 1).Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1, Switch: true}, {ID: "y", Pairs: 1}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{false, true, false, false}, b.switches); diff != "" {
		t.Errorf("switches (-want +got):\n%s", diff)
	}
}

// wires is a network that is made, joined and closed.
type wires struct {
	bench *bench
	did   []string
}

func (w *wires) interfaces() []string { return []string{"x0", "x1"} }

func (w *wires) join(context.Context) error {
	w.did = append(w.did, "join "+w.bench.running)
	return nil
}

func (w *wires) close() error {
	w.did = append(w.did, "close "+w.bench.running)
	return nil
}

// TestInterfaces gives each measurement a network, joined once the forwarder runs and closed when it does not any more.
func TestInterfaces(t *testing.T) {
	b := &bench{}
	r, w := newRunner(t, b, 1), &wires{bench: b}
	r.connect = func(kind string) (network, error) {
		w.did = append(w.did, "connect "+kind)
		return w, nil
	}
	if _, err := r.Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1, Through: "tap"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect tap", "join aaa", "close ", "connect tap", "join b", "close "}
	if diff := cmp.Diff(want, w.did); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x0", "x1", "x0", "x1"}, b.interfaces); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}

// TestNoiseIsRepeated measures again, keeps the quietest and does not go on for ever.
func TestNoiseIsRepeated(t *testing.T) {
	b := &bench{delayed: []float64{0.5, 0.3, 0.4, 0.1, 0.01}}
	r := newRunner(t, b, 4)
	results, err := r.Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1}})
	if err != nil {
		t.Fatal(err)
	}
	first, second := results[0].Samples[0][0], results[0].Samples[1][0]
	if first.Noise.Generator != 0.3 || first.Attempts != 3 {
		t.Errorf("first sample %+v, want the quietest of three", first)
	}
	// There may be two repetitions of eight measurements: none is left.
	if second.Noise.Generator != 0.1 || second.Attempts != 1 || r.Repeated() != 2 {
		t.Errorf("second sample %+v, %d repeated", second, r.Repeated())
	}
}

// TestMovedIsRepeated measures again when the CPUs have moved meanwhile.
func TestMovedIsRepeated(t *testing.T) {
	b := &bench{moved: []float64{60, 220, 220, 200, 40, 50}}
	r := newRunner(t, b, 1)
	results, err := r.Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1}})
	if err != nil {
		t.Fatal(err)
	}
	first, second := results[0].Samples[0][0], results[0].Samples[1][0]
	if first.Noise.DistanceBefore != 220 || first.Noise.DistanceAfter != 200 || first.Attempts != 2 {
		t.Errorf("first sample %+v, want the second attempt", first)
	}
	if second.Noise.DistanceBefore != 40 || second.Noise.DistanceAfter != 50 || second.Attempts != 1 || r.Repeated() != 1 {
		t.Errorf("second sample %+v, %d repeated", second, r.Repeated())
	}
}

// TestFailures returns what has been measured, and leaves logs but no process.
func TestFailures(t *testing.T) {
	for fail, want := range map[string]string{
		"b":    "0 B one way, round 1: no memory",
		"load": "0 B one way, round 1: aaa: no frame arrived",

		"silence": "0 B one way, round 1: aaa: the load has not said when it began to send: is vvugen as new as vvubench?",
	} {
		b := &bench{fail: fail}
		results, err := newRunner(t, b, 1).Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1}})
		if err == nil || err.Error() != want || b.running != "" || len(results) != 1 {
			t.Errorf("error %v, want %s; running %q, %d results", err, want, b.running, len(results))
		}
	}
	_, err := newRunner(t, &bench{}, 1).Run(context.Background(), []plan.Case{{ID: "half", Pairs: 1, HalfOf: "x"}})
	if err == nil || !strings.Contains(err.Error(), "x has not been measured") {
		t.Errorf("a case without what it depends on: %v", err)
	}
	r := newRunner(t, &bench{}, 1)
	r.begin = func(int, ...int) (listener, error) { return nil, errors.New("no /proc/stat") }
	if _, err := r.Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1}}); err == nil || !strings.Contains(err.Error(), "no /proc/stat") {
		t.Errorf("without /proc: %v", err)
	}
	r = newRunner(t, &bench{}, 1)
	r.distance = func(int, int) (float64, error) { return -1, errors.New("no such CPU") }
	if _, err := r.Run(context.Background(), []plan.Case{{ID: "x", Pairs: 1}}); err == nil || !strings.Contains(err.Error(), "no such CPU") {
		t.Errorf("without a CPU: %v", err)
	}
}
