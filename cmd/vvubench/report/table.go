package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Table writes the document for people.
func Table(out io.Writer, d *Document) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	heading(w, d)
	throughput(w, d)
	pairs(w, d)
	latencies(w, d)
	quiet(w, d)
	if d.Failure != "" {
		fmt.Fprintf(w, "\nincomplete: %s\n", d.Failure)
	}
	return w.Flush()
}

func heading(w io.Writer, d *Document) {
	kind := ""
	if d.Machine.Hypervisor {
		kind = ", a virtual machine"
	}
	fmt.Fprintf(w, "%s; %d CPUs%s; Linux %s; huge pages free: %s\n", d.Machine.CPU, d.Machine.CPUs, kind, d.Machine.Kernel, or(d.Machine.HugePages, "none"))
	for _, p := range d.Peers {
		fmt.Fprintf(w, "%s: %s\n", p.Name, or(p.Version, "not started"))
	}
	fmt.Fprintf(w, "forwarder on CPU %d, generator on CPU %d: %s\n", d.CPU, d.GeneratorCPU, d.Generator)
	fmt.Fprintf(w, "%s, %v each, taking turns; medians [smallest-largest] of the rounds\n",
		count(d.Rounds, "round"), time.Duration(d.Seconds*float64(time.Second)).Round(time.Millisecond))
}

// throughput is the table of rates, with the time that the forwarder's core was
// busy for each packet and the share of rounds in which the generator waited.
func throughput(w io.Writer, d *Document) {
	first := true
	for i := range d.Cases {
		r := &d.Cases[i]
		if r.Latency {
			continue
		}
		if first {
			first = false
			a, b := d.Peers[0].Name, d.Peers[1].Name
			fmt.Fprintf(w, "\nMpps\t%s\t%s\tratio\tns/packet: %s\t%s\tratio\tgenerator waits\n", a, b, a, b)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s, %s\n", r.Name,
			summary(r.values(0, mpps), 2), summary(r.values(1, mpps), 2), ratio(r.values(0, mpps), r.values(1, mpps)),
			summary(r.values(0, busy), 1), summary(r.values(1, busy), 1), ratio(r.values(0, busy), r.values(1, busy)),
			share(r.values(0, idle)), share(r.values(1, idle)))
	}
}

// pairs says what more pairs cost, and how evenly they were served.
func pairs(w io.Writer, d *Document) {
	some := false
	for i := range d.Cases {
		r := &d.Cases[i]
		one := d.onePair(r)
		if one == nil {
			continue
		}
		if !some {
			some = true
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%d pairs instead of 1:", r.Pairs)
		separator := ""
		for p, peer := range d.Peers {
			before, now := one.Median(p), r.Median(p)
			if before == 0 || now == 0 {
				continue
			}
			fmt.Fprintf(w, "%s %s %+.0f %%, a pair differs by up to %.1f %% from their mean", separator, peer.Name, 100*(now/before-1),
				100*Summarize(r.values(p, unevenness)).Median)
			separator = ";"
		}
		fmt.Fprintln(w)
	}
}

// onePair is the result that is the same as r but for the number of pairs, which
// is one; nil if there is none.
func (d *Document) onePair(r *Result) *Result {
	if r.Pairs < 2 {
		return nil
	}
	want := r.Case
	want.Pairs = 1
	for i := range d.Cases {
		c := d.Cases[i].Case
		want.ID = c.ID
		if c == want {
			return &d.Cases[i]
		}
	}
	return nil
}

// latencies is the table of latencies.
func latencies(w io.Writer, d *Document) {
	first := true
	for i := range d.Cases {
		r := &d.Cases[i]
		if !r.Latency {
			continue
		}
		if first {
			first = false
			a, b := d.Peers[0].Name, d.Peers[1].Name
			fmt.Fprintf(w, "\nlatency in us\tp50: %s\t%s\tratio\tp99: %s\t%s\tratio\n", a, b, a, b)
		}
		name := r.Name
		if r.HalfOf != "" && r.Rate > 0 {
			name += fmt.Sprintf(" (%.2f Mpps)", r.Rate/1e6)
		}
		fmt.Fprintf(w, "%s", name)
		for _, pick := range []func(*Sample) float64{latencyP50, latencyP99} {
			a, b := r.values(0, pick), r.values(1, pick)
			fmt.Fprintf(w, "\t%s\t%s\t%s", summary(a, 2), summary(b, 2), ratio(a, b))
		}
		fmt.Fprintln(w)
	}
}

// summary shows values, or a dash if none is known.
func summary(values []float64, decimals int) string {
	s := Summarize(values)
	if s.Max <= 0 {
		return "-"
	}
	return s.format(decimals)
}

func ratio(first, second []float64) string {
	r := Ratio(first, second)
	if r.Median == 0 {
		return "-"
	}
	return r.format(2)
}

// share shows the median of shares.
func share(values []float64) string {
	s := Summarize(values)
	if len(values) == 0 || s.Min < 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*s.Median)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
