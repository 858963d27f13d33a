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
	fmt.Fprintf(w, "%s, of which others took more than %s in %d; measurements repeated for that: %d\n",
		count(kept, "sample"), percent(noise.Tolerable), loud, d.Repeated)
}
