package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// slow is how many of the slowest tests are named.
const slow = 12

// report prints what failed, what was skipped and where the time went, and tells whether all passed; with noSkip, whether all ran, too.
func report(out io.Writer, results []*result, took time.Duration, noSkip bool) (passed bool) {
	passed = true
	skipped := 0
	var slowest []timing
	for _, r := range results {
		slowest = append(slowest, r.tests.slowest...)
		skipped += len(r.tests.skipped)
		for _, name := range r.tests.skipped {
			fmt.Fprintf(out, "skipped in %s: %s\n", r.name, name)
		}
	}
	slices.SortStableFunc(slowest, func(a, b timing) int { return int(1000 * (b.seconds - a.seconds)) })
	fmt.Fprintln(out, "\nThe slowest tests, most of which wait:")
	for _, t := range slowest[:min(slow, len(slowest))] {
		fmt.Fprintf(out, "%8.1f s  %s\n", t.seconds, t.name)
	}
	fmt.Fprintln(out)
	table(out, results, took)
	for _, r := range results {
		if r.err == nil {
			continue
		}
		passed = false
		fmt.Fprintf(out, "\n%s failed: %v. All of its output is in %s; what matters of it:\n", r.name, r.err, r.log)
		matters := append(slices.Clone(r.tests.failed), r.tests.unfinished()...)
		for _, text := range append(matters, strings.Join(r.others, "\n")) {
			fmt.Fprintln(out, strings.TrimSpace(text))
		}
	}
	if noSkip && skipped > 0 {
		fmt.Fprintf(out, "\n%d tests were skipped, which -noskip does not allow: their names are above, what they lack is in the logs of the stages\n", skipped)
		return false
	}
	return passed
}

// table says of each stage when it began, how long it took, and how much of the processors.
func table(out io.Writer, results []*result, took time.Duration) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "stage\tbegins\tseconds\tprocessor\ttests\tskipped\t\t")
	total, tests, skipped := time.Duration(0), 0, 0
	for _, r := range results {
		verdict := "ok"
		if r.err != nil {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%d\t%d\t%s\t\n", r.name, r.begun.Sub(results[0].begun).Seconds(), r.took.Seconds(), r.cpu.Seconds(),
			r.tests.passed, len(r.tests.skipped), verdict)
		total, tests, skipped = total+r.cpu, tests+r.tests.passed, skipped+len(r.tests.skipped)
	}
	share := 100 * total.Seconds() / took.Seconds() / float64(runtime.NumCPU())
	fmt.Fprintf(w, "all\t0\t%.0f\t%.0f\t%d\t%d\t\t\n", took.Seconds(), total.Seconds(), tests, skipped)
	w.Flush()
	fmt.Fprintf(out, "%d processors, busy for %.0f %% of the time\n", runtime.NumCPU(), share)
}
