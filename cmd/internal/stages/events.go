package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// event is a line of "go test -json": see "go doc test2json" and "go help buildjson".
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that is built, with the variant of it
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// parseEvent takes a line of output as an event, if it is one.
func parseEvent(line string) (e event, ok bool) {
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		return event{}, false
	}
	return e, true
}

// long is from how many seconds on a test is worth a line.
const long = 5

// tests is what is known of the tests of a stage.
type tests struct {
	output  map[string]*strings.Builder // by package and test, until it has passed
	failed  []string                    // what each that failed has printed
	skipped []string
	passed  int
	slowest []timing
}

// timing is how long a test took, which may have waited for most of it.
type timing struct {
	name    string
	seconds float64
}

// take takes one event and returns what a person wants to know of it.
func (t *tests) take(e event) (said string) {
	name := cmp.Or(e.Package, e.ImportPath)
	if e.Test != "" {
		name += "." + e.Test
	}
	switch e.Action {
	case "output", "build-output":
		if t.output == nil {
			t.output = map[string]*strings.Builder{}
		}
		if t.output[name] == nil {
			t.output[name] = &strings.Builder{}
		}
		t.output[name].WriteString(e.Output)
	case "fail", "build-fail":
		if out := t.output[name]; out != nil {
			t.failed = append(t.failed, out.String())
			delete(t.output, name)
		}
		return "FAIL " + name + seconds(e.Elapsed)
	case "skip":
		delete(t.output, name)
		if e.Test == "" {
			return "" // a package without tests
		}
		t.skipped = append(t.skipped, name)
		return "skip " + name
	case "pass":
		delete(t.output, name)
		if e.Test == "" {
			return "ok   " + name + seconds(e.Elapsed)
		}
		t.passed++
		if strings.Contains(e.Test, "/") {
			return ""
		}
		t.slowest = append(t.slowest, timing{name, e.Elapsed})
		if e.Elapsed >= long {
			return "pass " + name + seconds(e.Elapsed)
		}
	}
	return ""
}

// unfinished is what was printed by those of which no one has said how they ended, because they were killed.
func (t *tests) unfinished() (texts []string) {
	names := make([]string, 0, len(t.output))
	for name := range t.output {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		texts = append(texts, t.output[name].String())
	}
	return texts
}

func seconds(s float64) string { return fmt.Sprintf("  %.1f s", s) }
