// Package benchtest runs vvubench programs in tests.
package benchtest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvubench/report"
)

// Result is what a vvubench printed and wrote.
type Result struct {
	Table, Progress string
	Document        report.Document
}

// Run runs the vvubench at path, which must succeed. On a machine with one CPU it must
// refuse for that reason instead; Run returns false then, and there is no more to see.
func Run(ctx context.Context, t *testing.T, path string, args ...string) (r Result, ran bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bench.json")
	cmd := exec.CommandContext(ctx, path, append([]string{"--json", file}, args...)...)
	var progress strings.Builder
	cmd.Stderr = &progress
	table, err := cmd.Output()
	r.Table, r.Progress = string(table), progress.String()
	var usable unix.CPUSet
	if unix.SchedGetaffinity(0, &usable) == nil && usable.Count() < 2 {
		if err == nil || !strings.Contains(r.Progress, "need two CPUs") {
			t.Errorf("on one CPU: %v\n%s", err, r.Progress)
		}
		return r, false
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, r.Progress)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r.Document); err != nil {
		t.Fatal(err)
	}
	return r, true
}

// Lines checks that the table has each of these texts.
func (r *Result) Lines(t *testing.T, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(r.Table, want) {
			t.Errorf("the table lacks %q:\n%s", want, r.Table)
		}
	}
}
