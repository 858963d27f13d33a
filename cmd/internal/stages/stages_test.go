package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	got := parse([]string{"machines", "lint  unit race", "--", "versus", "--", " "})
	want := [][][]string{{{"machines"}, {"lint", "unit", "race"}}, {{"versus"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parsed as %q, want %q", got, want)
	}
	if got := parse(nil); got != nil {
		t.Errorf("nothing was parsed as %q", got)
	}
}

// run runs lanes with a Makefile and returns what a person sees, whether all passed, and where the logs are.
func run(t *testing.T, ctx context.Context, makefile string, args ...string) (seen string, passed bool, logs string) {
	t.Helper()
	return runAll(t, ctx, makefile, false, args...)
}

// runAll is run, with -noskip or without.
func runAll(t *testing.T, ctx context.Context, makefile string, noSkip bool, args ...string) (seen string, passed bool, logs string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	var out bytes.Buffer
	r := &runner{logs: dir, begun: time.Now(), screen: &screen{out: &out, begun: time.Now()}}
	for _, lanes := range parse(args) {
		r.round(ctx, lanes)
	}
	passed = report(&out, r.results(), time.Since(r.begun), noSkip)
	return out.String(), passed, dir
}

// events are what "go test -json" says of two tests and a package.
const events = `
unit:
	@echo '{"Action":"run","Package":"p","Test":"TestGood"}'
	@echo '{"Action":"output","Package":"p","Test":"TestGood","Output":"all is well\n"}'
	@echo '{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":7.5}'
	@echo '{"Action":"skip","Package":"p","Test":"TestAbsent","Elapsed":0}'
	@echo '{"Action":"output","Package":"p","Test":"TestBad","Output":"%s\n"}'
	@echo '{"Action":"%s","Package":"p","Test":"TestBad","Elapsed":0.1}'
	@echo '{"Action":"%[2]s","Package":"p","Elapsed":9}'
	@test %[2]s = pass
lint:
	@echo stage $$STAGE
	@exit %d
later:
	@test -e lint.log -a -e unit.log
`

func TestAllPassed(t *testing.T) {
	seen, passed, logs := run(t, t.Context(), fmt.Sprintf(events, "a word", "pass", 0), "unit", "lint", "--", "later")
	if !passed {
		t.Error("failed")
	}
	for _, want := range []string{"pass p.TestGood  7.5 s", "ok   p  9.0 s", "skipped in unit: p.TestAbsent", "stage lint", "7.5 s  p.TestGood\n"} {
		if !strings.Contains(seen, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if strings.Contains(seen, "all is well") || strings.Contains(seen, "a word") {
		t.Error("what tests that passed printed is shown")
	}
	if t.Failed() {
		t.Log(seen)
	}
	text, err := os.ReadFile(filepath.Join(logs, "unit.log"))
	if err != nil || string(text) != "all is well\na word\n" {
		t.Errorf("the log holds %q, %v", text, err)
	}
}

// With -noskip all has to run, too.
func TestNothingSkipped(t *testing.T) {
	makefile := fmt.Sprintf(events, "a word", "pass", 0)
	if seen, passed, _ := runAll(t, t.Context(), makefile, true, "unit"); passed || !strings.Contains(seen, "\n1 tests were skipped") {
		t.Errorf("passed %v:\n%s", passed, seen)
	}
	if seen, passed, _ := runAll(t, t.Context(), makefile, true, "lint"); !passed {
		t.Errorf("nothing was skipped, and it failed:\n%s", seen)
	}
}

// A stage that fails keeps no other from running, and its reasons come last.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		unit   string
		lint   int
		reason string
	}{{"a test", "fail", 0, "the reason"}, {"a command", "pass", 3, "stage lint"}} {
		t.Run(tt.name, func(t *testing.T) {
			seen, passed, _ := run(t, t.Context(), fmt.Sprintf(events, "the reason", tt.unit, tt.lint), "lint unit", "--", "later")
			if passed {
				t.Error("passed")
			}
			table, after, found := strings.Cut(seen, "stage  begins")
			if !found || !strings.Contains(after, tt.reason) || strings.Contains(table, "the reason") || strings.Count(seen, "begins\n") != 3 {
				t.Errorf("not as it should be:\n%s", seen)
			}
		})
	}
}

// A package that does not compile is told with what the compiler said; one that was killed, with what it had printed.
func TestOtherFailures(t *testing.T) {
	const makefile = `
unit:
	@echo '{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1: wrong\n"}'
	@echo '{"ImportPath":"p [p.test]","Action":"build-fail"}'
	@echo '{"Action":"output","Package":"q","Test":"TestHangs","Output":"goroutine 7\n"}'
	@exit 1
`
	seen, passed, _ := run(t, t.Context(), makefile, "unit")
	if passed || !strings.Contains(seen, "p.go:1: wrong") || !strings.Contains(seen, "goroutine 7") {
		t.Errorf("passed %v:\n%s", passed, seen)
	}
}

// Whoever ends the stages ends all that they have started.
func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	begun := time.Now()
	seen, passed, _ := run(t, ctx, "unit:\n\t@sleep 600; true\nlint:\n\t@true\n", "unit lint")
	if passed || time.Since(begun) > grace || strings.Count(seen, "FAILED: ") != 2 {
		t.Errorf("passed %v after %v:\n%s", passed, time.Since(begun), seen)
	}
}
