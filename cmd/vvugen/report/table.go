package report

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"vvufwd/cmd/vvugen/traffic"
)

// Table writes the run as tables.
func Table(out io.Writer, r Run) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	result := &r.Result
	cpu := "not pinned"
	if result.CPU >= 0 {
		cpu = fmt.Sprintf("CPU %d", result.CPU)
	}
	pages := "4 KiB pages"
	if r.HugePages {
		pages = "huge pages"
	}
	fmt.Fprintf(w, "%d-byte frames, payload %s, bursts of %d, rings of %d, %s, %s, %v\n",
		r.Plan.Size, r.payload(), r.Plan.Burst, r.QueueSize, pages, cpu, result.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(w, "features %v, idle in %.0f %% of rounds", r.Features, 100*result.Idle)
	if result.Delayed >= 0 {
		fmt.Fprintf(w, ", preempted %.1f %% of the time", 100*result.Delayed)
	}
	fmt.Fprint(w, "\n\n")

	fmt.Fprint(w, "Mpps\tGbit/s\tsent\treceived\tlost\tkicks\t  direction\n")
	for i := range result.Directions {
		d := &result.Directions[i]
		fmt.Fprintf(w, "%.3f\t%.3f\t%d\t%d\t%d\t%d\t  %s\n",
			d.PPS(result.Elapsed)/1e6, d.BPS(result.Elapsed)/1e9, d.Sent, d.Received, d.Lost, d.Kicks, d.Name)
	}
	total(w, result)
	latencies(w, result)
	if r.Plan.Verify {
		faults(w, result)
	}
	return w.Flush()
}

// total sums up several pairs and says how evenly they were served.
func total(w io.Writer, result *traffic.Result) {
	pairs := result.Pairs()
	if len(pairs) < 2 {
		return
	}
	var pps, bps float64
	var sent, received, lost, kicks uint64
	for i := range result.Directions {
		d := &result.Directions[i]
		pps += d.PPS(result.Elapsed)
		bps += d.BPS(result.Elapsed)
		sent, received, lost, kicks = sent+d.Sent, received+d.Received, lost+d.Lost, kicks+d.Kicks
	}
	fmt.Fprintf(w, "%.3f\t%.3f\t%d\t%d\t%d\t%d\t  all %d pairs; %.3f to %.3f Mpps each\n",
		pps/1e6, bps/1e9, sent, received, lost, kicks, len(pairs), slices.Min(pairs)/1e6, slices.Max(pairs)/1e6)
}

func latencies(w io.Writer, result *traffic.Result) {
	header := false
	for i := range result.Directions {
		d := &result.Directions[i]
		h := d.Latency
		if h == nil {
			continue
		}
		if !header {
			header = true
			fmt.Fprint(w, "\nlatency in us: mean\t")
			for _, q := range quantiles {
				fmt.Fprintf(w, "%s\t", q.name)
			}
			fmt.Fprint(w, "max\tframes\t  direction\n")
		}
		fmt.Fprintf(w, "%.2f\t", h.Mean()/1e3)
		for _, q := range quantiles {
			fmt.Fprintf(w, "%.2f\t", float64(h.Quantile(q.q))/1e3)
		}
		fmt.Fprintf(w, "%.2f\t%d\t  %s\n", float64(h.Max())/1e3, h.Count(), d.Name)
	}
}

func faults(w io.Writer, result *traffic.Result) {
	wrong := false
	for i := range result.Directions {
		d := &result.Directions[i]
		for _, k := range traffic.Kinds() {
			f := d.Faults[k]
			if f.Count == 0 {
				continue
			}
			if !wrong {
				wrong = true
				fmt.Fprint(w, "\nwrong frames\tfirst at\t  what\n")
			}
			fmt.Fprintf(w, "%d\t%d\t  %s (%s), %s\n", f.Count, f.First, k, k.Meaning(), d.Name)
		}
	}
	if !wrong {
		fmt.Fprint(w, "\nverified: every frame arrived once, in order and unchanged\n")
	}
}
