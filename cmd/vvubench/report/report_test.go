package report

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/plan"
)

var update = flag.Bool("update", false, "write the golden files again")

func TestSummarize(t *testing.T) {
	for name, tc := range map[string]struct {
		values []float64
		want   Summary
	}{
		"none":     {nil, Summary{}},
		"one":      {[]float64{3}, Summary{3, 3, 3}},
		"odd":      {[]float64{9, 1, 5}, Summary{5, 1, 9}},
		"even":     {[]float64{4, 1, 2, 9}, Summary{3, 1, 9}},
		"negative": {[]float64{-1, -1}, Summary{-1, -1, -1}},
	} {
		if got := Summarize(tc.values); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestRatio(t *testing.T) {
	for name, tc := range map[string]struct {
		first, second []float64
		want          Summary
	}{
		"rounds":        {[]float64{1, 2, 4}, []float64{2, 3, 2}, Summary{1, 0.5, 2}},
		"the same":      {[]float64{5}, []float64{5}, Summary{1, 1, 1}},
		"half a round":  {[]float64{2, 4, 6}, []float64{4, 4}, Summary{1, 1, 2}},
		"no second":     {[]float64{5}, nil, Summary{}},
		"nothing":       {nil, nil, Summary{}},
		"zero at first": {[]float64{0, 0}, []float64{1, 1}, Summary{}},
		"zero once":     {[]float64{0, 2, 2}, []float64{1, 4, 6}, Summary{2, 2, 3}},
	} {
		got := Ratio(tc.first, tc.second)
		if math.Abs(got.Median-tc.want.Median) > 1e-9 || got.Min != tc.want.Min || got.Max != tc.want.Max {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestUnevenness(t *testing.T) {
	if got := unevenness(&Sample{Mpps: 8, PairsMpps: []float64{1, 2, 2, 3}}); got != 0.5 {
		t.Errorf("unevenness %v, want 0.5", got)
	}
	if unevenness(&Sample{}) != 0 {
		t.Error("nothing is uneven")
	}
}

// document is a small benchmark with one of everything.
func document() *Document {
	sample := func(mpps, busy, delayed float64) Sample {
		return Sample{
			Mpps: mpps, Gbps: mpps * 0.512, PairsMpps: []float64{mpps}, BusyNS: busy, Idle: 0.5,
			Noise: noise.Report{Forwarder: delayed, Generator: 0.001, Steal: 0, Interrupts: 0.004, DistanceBefore: 60, DistanceAfter: 62}, Attempts: 1,
		}
	}
	waiting := func(p50, p99 float64) Sample {
		s := sample(3, 100, 0)
		s.Latency = &load.Latency{P50: p50, P90: p99, P99: p99, Max: 99}
		return s
	}
	both := plan.Case{ID: "64-both", Size: 64, Both: true, Pairs: 1}
	four := plan.Case{ID: "64-both-4-pairs", Size: 64, Both: true, Pairs: 4}
	half := plan.Case{ID: "latency-half", Size: 64, Pairs: 1, HalfOf: "64-one", Rate: 3e6, Latency: true}
	opinion := plan.Case{ID: "64-both-virtio-user", Size: 64, Both: true, Pairs: 1, Opinion: true}
	result := func(c plan.Case, first, second []Sample) Result {
		return Result{Case: c, Name: c.String(), Samples: [2][]Sample{first, second}}
	}
	pairs := func(mpps ...float64) Sample {
		s := sample(0, 90, 0.001)
		s.PairsMpps = mpps
		for _, m := range mpps {
			s.Mpps += m
		}
		return s
	}
	unheard := sample(4, 0, -1)
	unheard.Idle, unheard.Noise.Generator = -1, -1
	unheard.Noise.DistanceBefore, unheard.Noise.DistanceAfter = -1, -1
	moved := sample(5, 84, 0.001)
	moved.Noise.DistanceAfter = 220
	return &Document{
		Time:    time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		Machine: noise.Machine{CPU: "Some CPU", CPUs: 2, Kernel: "6.1", Hypervisor: true, HugePages: "512 of 2 MiB"},
		Peers:   [2]Peer{{"testpmd", "DPDK 22.11.11"}, {"vvufwd", "vvufwd v1"}}, Generator: "vvugen v1", GeneratorCPU: 1,
		Rounds: 3, Seconds: 1, Repeated: 1,
		Cases: []Result{
			result(both, []Sample{sample(6, 80, 0.001), moved, sample(7, 79, 0.03)}, []Sample{sample(9, 40, 0.01), sample(10, 41, 0), sample(9.5, 39, 0)}),
			result(four, []Sample{pairs(1.5, 1.5, 1.5, 1.5)}, []Sample{pairs(2, 2.5, 2.5, 2)}),
			result(opinion, []Sample{unheard}, []Sample{unheard}),
			result(half, []Sample{waiting(2, 10)}, []Sample{waiting(1, 20)}),
		},
	}
}

func TestGolden(t *testing.T) {
	incomplete := document()
	incomplete.Failure = "64 B one way, round 2: testpmd: it ended"
	incomplete.Cases = incomplete.Cases[:1]
	incomplete.Cases[0].Samples[1] = nil
	incomplete.Peers[0].Version, incomplete.Machine.HugePages, incomplete.Machine.Hypervisor, incomplete.Rounds = "", "", false, 1
	for name, d := range map[string]*Document{"complete": document(), "incomplete": incomplete} {
		for kind, write := range map[string]func(*bytes.Buffer) error{
			"txt":  func(b *bytes.Buffer) error { return Table(b, d) },
			"json": func(b *bytes.Buffer) error { return JSON(b, d) },
		} {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+"."+kind)
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
	}
}
