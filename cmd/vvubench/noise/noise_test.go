package noise

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestReadCPU(t *testing.T) {
	root := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(root, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 100 1 50 840 2 3 4 0 77 7\ncpu11 1 1 1 1 1 1 1 1 0 0\n")
	before, err := readCPU(root, 1)
	if err != nil || before != (cpuTime{total: 1000, interrupts: 7, steal: 0}) {
		t.Fatalf("read %+v, %v", before, err)
	}
	write("cpu1 150 1 50 880 2 4 6 7 99 9\n")
	after, err := readCPU(root, 1)
	if err != nil {
		t.Fatal(err)
	}
	if interrupts, steal := after.since(before); interrupts != 0.03 || steal != 0.07 {
		t.Errorf("interrupts %v, steal %v, want 0.03 and 0.07", interrupts, steal)
	}
	if interrupts, steal := before.since(before); interrupts != 0 || steal != 0 {
		t.Errorf("no time has interrupts %v, steal %v", interrupts, steal)
	}
	for _, text := range []string{"", "cpu1 1 2 3\n", "cpu1 1 2 3 4 5 6 7 x\n"} {
		write(text)
		if _, err := readCPU(root, 1); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestDelayed(t *testing.T) {
	before := map[string]threadTime{"idle": {1, 1}, "loop": {time.Second, 0}, "gone": {5 * time.Second, 0}}
	after := map[string]threadTime{"idle": {2, 900}, "loop": {1900 * time.Millisecond, 100 * time.Millisecond}, "new": {time.Hour, time.Hour}}
	if got := delayed(before, after); math.Abs(got-0.1) > 1e-9 {
		t.Errorf("delayed %v, want 0.1", got)
	}
	// Three loops share a CPU: 1 s, of which others had a tenth.
	after = map[string]threadTime{"control": {time.Millisecond, 0}}
	for _, name := range []string{"a", "b", "c"} {
		after[name] = threadTime{300 * time.Millisecond, 700 * time.Millisecond}
	}
	if got := delayed(map[string]threadTime{"a": {}, "b": {}, "c": {}, "control": {}}, after); math.Abs(got-0.1) > 1e-9 {
		t.Errorf("three loops are delayed %v, want 0.1", got)
	}
	if got := delayed(nil, after); got != -1 {
		t.Errorf("unknown is %v, want -1", got)
	}
	for text, want := range map[string]bool{"5 6 7\n": true, "": false, "5 6": false, "x 6 7": false, "5 x 7": false} {
		if _, ok := parseThread(text); ok != want {
			t.Errorf("%q is read: %v", text, ok)
		}
	}
}

// TestWatch watches this process being busy.
func TestWatch(t *testing.T) {
	w, err := Begin(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
	}
	r, err := w.End(0.5)
	if err != nil {
		t.Fatal(err)
	}
	if r.Generator != 0.5 || r.Forwarder < -1 || r.Forwarder > 1 || r.Steal < 0 || r.Steal > 1 || r.Quiet() {
		t.Errorf("report %+v", r)
	}
	if _, err := Begin(os.Getpid(), 100000); err == nil {
		t.Error("a CPU that is not there is watched")
	}
}

func TestMachine(t *testing.T) {
	if m := Describe(); m.CPUs != runtime.NumCPU() || m.Kernel == "" {
		t.Errorf("machine %+v", m)
	}
	model, hypervisor := parseCPUInfo("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu hypervisor lm\n")
	if model != "Some CPU" || !hypervisor {
		t.Errorf("model %q, hypervisor %v", model, hypervisor)
	}
	if _, hypervisor := parseCPUInfo("flags: fpu lm"); hypervisor {
		t.Error("a hypervisor out of nowhere")
	}
}
