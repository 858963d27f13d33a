package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvubench/report"
	"vvufwd/cmd/vvudemo/tools"
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
	file := filepath.Join(t.TempDir(), "bench.json")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(build, "bin", "vvubench"), "--build-dir", build, "--json", file,
		"--only", "^64-both$|4-pairs|virtio-user|10k", "--rounds", "1", "--duration", "500ms")
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	var usable unix.CPUSet
	if unix.SchedGetaffinity(0, &usable) == nil && usable.Count() < 2 {
		if err == nil || !strings.Contains(progress.String(), "need two CPUs") {
			t.Errorf("on one CPU: %v\n%s", err, progress.String())
		}
		return
	}
	if err != nil {
		t.Fatalf("%v (make build makes the programs)\n%s", err, progress.String())
	}
	t.Logf("\n%s", out)
	for _, want := range []string{"\ntestpmd: DPDK ", "\n64 B both ways, virtio-user ", "\n4 pairs instead of 1: testpmd ", "\n64 B one way at 10 kpps ", "\nns for a cache line from CPU to CPU: testpmd "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d report.Document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Cases) != 4 || d.Failure != "" {
		t.Fatalf("%d cases, failure %q", len(d.Cases), d.Failure)
	}
	for _, c := range d.Cases {
		for p, samples := range c.Samples {
			if len(samples) != 1 {
				t.Fatalf("%s: %d samples of %s", c.Name, len(samples), d.Peers[p].Name)
			}
			s := samples[0]
			// Testpmd as the load drops what it cannot take.
			if s.Mpps <= 0 || s.BusyNS <= 0 || s.Lost > 0 && !c.Opinion || c.Latency != (s.Latency != nil) {
				t.Errorf("%s, %s: %+v", c.Name, d.Peers[p].Name, s)
			}
		}
	}
}
