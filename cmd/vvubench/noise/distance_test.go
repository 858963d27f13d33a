package noise

import (
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDistance measures this machine, if it has two CPUs: light takes longer than
// 1 ns through a processor, and no two caches are 20 us apart.
func TestDistance(t *testing.T) {
	var usable unix.CPUSet
	if err := unix.SchedGetaffinity(0, &usable); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for cpu := range 1024 {
		if usable.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	a, b := cpus[0], cpus[len(cpus)-1]
	began := time.Now()
	ns, err := Distance(a, b)
	if err != nil || len(cpus) > 1 && ns != -1 && (ns < 1 || ns > 1e8) {
		t.Errorf("distance of CPUs %d and %d: %v, %v", a, b, ns, err)
	}
	if took := time.Since(began); took > 20*distanceLimit {
		t.Errorf("it took %v", took)
	}
	for _, pair := range [][2]int{{a, 1023}, {1023, b}} {
		if ns, err := Distance(pair[0], pair[1]); err == nil || ns != -1 || !strings.Contains(err.Error(), "CPU 1023") {
			t.Errorf("distance of CPUs %v: %v, %v", pair, ns, err)
		}
	}
}

func TestOneWay(t *testing.T) {
	const way = 2 * tripsPerBatch * time.Nanosecond
	for name, tc := range map[string]struct {
		batches []time.Duration
		want    float64
	}{
		"none":        {nil, -1},
		"one":         {[]time.Duration{37 * way}, 37},
		"interrupted": {[]time.Duration{60 * way, 59 * way, 9000 * way, 61 * way, 60 * way}, 60},
	} {
		if got := oneWay(tc.batches); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestQuiet(t *testing.T) {
	for name, tc := range map[string]struct {
		report   Report
		loudness float64
		quiet    bool
	}{
		"nothing":       {Report{}, 0, true},
		"unknown":       {Report{Forwarder: -1, Generator: -1, DistanceBefore: -1, DistanceAfter: 60}, 0, true},
		"others":        {Report{Steal: 0.03, DistanceBefore: 60, DistanceAfter: 60}, 1.5, false},
		"moved away":    {Report{Generator: 0.01, DistanceBefore: 60, DistanceAfter: 90}, 1.5, false},
		"moved closer":  {Report{DistanceBefore: 220, DistanceAfter: 40}, 13.5, false},
		"hardly moved":  {Report{Generator: 0.01, DistanceBefore: 70, DistanceAfter: 60}, 0.5, true},
		"still quieter": {Report{Generator: 0.004, DistanceBefore: 60, DistanceAfter: 64}, 0.2, true},
	} {
		if got := tc.report.Loudness(); math.Abs(got-tc.loudness) > 1e-9 || tc.report.Quiet() != tc.quiet {
			t.Errorf("%s: loudness %v, want %v; quiet: %v", name, got, tc.loudness, tc.report.Quiet())
		}
	}
}
