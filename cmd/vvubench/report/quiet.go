package report

import (
	"fmt"
	"io"

	"vvufwd/cmd/vvubench/noise"
)

// quiet says how quiet the machine was, as far as the samples tell that were kept.
func quiet(w io.Writer, d *Document) {
	worst := noise.Report{Forwarder: -1, Generator: -1, Steal: -1, Interrupts: -1}
	var kept, loud int
	var delays []float64
	for i := range d.Cases {
		for _, samples := range d.Cases[i].Samples {
			for _, s := range samples {
				kept++
				if !s.Noise.Quiet() {
					loud++
				}
				worst.Forwarder = max(worst.Forwarder, s.Noise.Forwarder)
				worst.Generator = max(worst.Generator, s.Noise.Generator)
				worst.Steal = max(worst.Steal, s.Noise.Steal)
				worst.Interrupts = max(worst.Interrupts, s.Noise.Interrupts)
				delays = append(delays, s.Noise.Worst())
			}
		}
	}
	if kept == 0 {
		return
	}
	percent := func(share float64) string {
		if share < 0 {
			return "an unknown part"
		}
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	fmt.Fprintf(w, "\nnoise: others took %s of a core in the median; at most %s of the forwarder's, %s of the generator's, %s stolen by the hypervisor, %s for interrupts\n",
		percent(Summarize(delays).Median), percent(worst.Forwarder), percent(worst.Generator), percent(worst.Steal), percent(worst.Interrupts))
	distances(w, d)
	fmt.Fprintf(w, "%s, of which %d had more noise than %s or more drift than a third; measurements repeated for that: %d\n",
		count(kept, "sample"), loud, percent(noise.Tolerable), d.Repeated)
}

// distances says whether both peers had the same machine: how long a cache line
// took from the forwarder's CPU to the generator's, before and after their samples.
func distances(w io.Writer, d *Document) {
	text, separator := "", ""
	moved := 0
	for p, peer := range d.Peers {
		var known []float64
		for i := range d.Cases {
			for _, s := range d.Cases[i].Samples[p] {
				for _, ns := range []float64{s.Noise.DistanceBefore, s.Noise.DistanceAfter} {
					if ns > 0 {
						known = append(known, ns)
					}
				}
				if s.Noise.Drift() > noise.TolerableDrift {
					moved++
				}
			}
		}
		if len(known) > 0 {
			text += fmt.Sprintf("%s %s %s", separator, peer.Name, Summarize(known).format(0))
			separator = ";"
		}
	}
	if text != "" {
		fmt.Fprintf(w, "ns for a cache line from CPU to CPU:%s; it changed by more than a third during %s\n", text, count(moved, "sample"))
	}
}
