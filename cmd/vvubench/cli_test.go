package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/vvubench/benchtest"
	"vvufwd/cmd/vvubench/report"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vvubench": main})
}

// TestCLI plays command lines and checks what they print and their exit codes.
func TestCLI(t *testing.T) { clitest.Play(t, "testdata", "", nil, nil) }

// TestTooFewCPUs has to be refused, whatever this machine has.
func TestTooFewCPUs(t *testing.T) {
	var one, two unix.CPUSet
	one.Set(0)
	two.Set(0)
	two.Set(1)
	if err := checkCPUs(&options{generatorCPU: 1}, one); err == nil || !strings.Contains(err.Error(), "need two CPUs, and only 1 may be used here") {
		t.Errorf("one CPU: %v", err)
	}
	if err := checkCPUs(&options{generatorCPU: 1}, two); err != nil {
		t.Errorf("two CPUs: %v", err)
	}
	if err := checkCPUs(&options{generatorCPU: 2}, two); err == nil || !strings.Contains(err.Error(), "--generator-cpu 2: this CPU cannot be used") {
		t.Errorf("the third of two CPUs: %v", err)
	}
	if err := checkCPUs(&options{cpu: -64, generatorCPU: 1}, two); err == nil || !strings.Contains(err.Error(), "--cpu -64: this CPU cannot be used") {
		t.Errorf("a CPU before the first: %v", err)
	}
}

// TestTwoBuilds runs short cases of two vvufwd against each other: everything but
// testpmd.
func TestTwoBuilds(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/", "vvufwd/cmd/vvubench", "vvufwd/cmd/vvufwd", "vvufwd/cmd/vvugen")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	r, ran := benchtest.Run(t.Context(), t, filepath.Join(dir, "vvubench"), "--against", filepath.Join(dir, "vvufwd"),
		"--only", "^64-both$|half", "--rounds", "1", "--duration", "250ms")
	if !ran {
		return
	}
	r.Lines(t, "\nother: vvufwd ", "\nvvufwd: vvufwd ", "\n64 B both ways ", "\n64 B one way at half load (", "\nnoise: ",
		"\nns for a cache line from CPU to CPU: other ")
	checkDocument(t, &r.Document)
	if want := "6/6  64 B one way at half load, vvufwd: "; !strings.Contains(r.Progress, want) {
		t.Errorf("progress lacks %q:\n%s", want, r.Progress)
	}
}

func checkDocument(t *testing.T, d *report.Document) {
	t.Helper()
	if len(d.Cases) != 3 || d.Failure != "" || d.Machine.CPUs < 2 {
		t.Fatalf("document %+v", d)
	}
	for _, c := range d.Cases {
		for p, samples := range c.Samples {
			if len(samples) != 1 || samples[0].Mpps <= 0 || samples[0].Lost != 0 || c.Latency != (samples[0].Latency != nil) {
				t.Errorf("%s, peer %d: %s", c.Name, p, fmt.Sprint(samples))
			}
		}
	}
	if half := d.Cases[2]; half.Rate <= 0 || half.Samples[0][0].Latency.P99 <= 0 {
		t.Errorf("half load %+v", half)
	}
}
