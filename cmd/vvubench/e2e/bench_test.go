package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvubench/benchtest"
)

// TestAgainstTestpmd measures vvufwd and testpmd with all kinds of load, for a
// moment. Rates are not judged: the machine may be busy. That frames arrived, both
// peers told their busy time and nothing was lost is.
func TestAgainstTestpmd(t *testing.T) {
	source := tools.SourceDir()
	if source == "" {
		t.Fatal("the test does not run in the source tree")
	}
	build := filepath.Join(source, "build")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	r, ran := benchtest.Run(ctx, t, filepath.Join(build, "bin", "vvubench"), "--build-dir", build, // make build makes the programs
		"--only", "^64-both$|4-pairs|virtio-user|10k|(packet|tap)-64-both", "--rounds", "1", "--duration", "1s")
	if !ran {
		return
	}
	t.Logf("\n%s", r.Table)
	r.Lines(t, "\ntestpmd: DPDK ", "\n64 B both ways, virtio-user ", "\n4 pairs instead of 1: testpmd ", "\n64 B one way at 10 kpps ",
		"\nns for a cache line from CPU to CPU: testpmd ")
	d := &r.Document
	want := 6
	if strings.Contains(r.Progress, "no case with interfaces of the kernel is measured") {
		t.Log(r.Progress)
		want = 4
	}
	if len(d.Cases) != want || d.Failure != "" {
		t.Fatalf("%d cases, failure %q", len(d.Cases), d.Failure)
	}
	for _, c := range d.Cases {
		for p, samples := range c.Samples {
			if len(samples) != 1 {
				t.Fatalf("%s: %d samples of %s", c.Name, len(samples), d.Peers[p].Name)
			}
			s := samples[0]
			// Testpmd drops what a port does not take, as the load and where the kernel is slow.
			mayLose := c.Opinion || c.Through != "" && p == 0
			if s.Mpps <= 0 || s.BusyNS <= 0 || s.Lost > 0 && !mayLose || c.Latency != (s.Latency != nil) {
				t.Errorf("%s, %s: %+v", c.Name, d.Peers[p].Name, s)
			}
		}
	}
}
