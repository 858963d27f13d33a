package measure

import (
	"context"
	"fmt"
	"time"

	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/peer"
	"vvufwd/cmd/vvubench/plan"
	"vvufwd/cmd/vvubench/report"
)

// Runner measures. Owned by one goroutine.
type Runner struct {
	Peers    [2]peer.Peer
	Load     load.Load // of all cases but those of a second opinion
	Opinion  load.Load // nil if there are no such cases
	Rounds   int
	Duration time.Duration // of each measurement
	CPU      int           // forwards
	LoadCPU  int           // sends and receives
	Dir      string        // for sockets and logs; its path is short
	Progress func(text string)

	// begin begins to listen for noise; nil: noise.Begin. Tests have their own.
	begin func(pid int, cpus ...int) (listener, error)
	// distance finds out how far two CPUs are from each other; nil: noise.Distance.
	distance func(a, b int) (ns float64, err error)

	// connect makes interfaces of a kind that are connected with each other; nil: connect. Tests have their own.
	connect func(kind string) (network, error)

	repeated int // measurements, for noise
	done     int
	total    int
}

// listener is a noise.Watch.
type listener interface {
	End(generator float64) (noise.Report, error)
}

// Run measures the cases in stages: within one, its cases take turns in every
// round, so that a bad minute of the machine does not fall upon one case alone.
// What has been measured is returned also with an error.
func (r *Runner) Run(ctx context.Context, cases []plan.Case) ([]report.Result, error) {
	if r.begin == nil {
		r.begin = func(pid int, cpus ...int) (listener, error) { return noise.Begin(pid, cpus...) }
	}
	if r.distance == nil {
		r.distance = noise.Distance
	}
	if r.connect == nil {
		r.connect = connect
	}
	var results []report.Result
	r.total = 2 * r.Rounds * len(cases)
	for _, stage := range plan.Stages(cases) {
		from := len(results)
		for _, c := range stage {
			if c.HalfOf != "" {
				var err error
				if c.Rate, err = halfOf(results, c.HalfOf); err != nil {
					return results, fmt.Errorf("%v: %w", c, err)
				}
			}
			results = append(results, report.Result{Case: c, Name: c.String()})
		}
		for round := range r.Rounds {
			for i := from; i < len(results); i++ {
				if err := r.round(ctx, &results[i], round); err != nil {
					return results, fmt.Errorf("%s, round %d: %w", results[i].Name, round+1, err)
				}
			}
		}
	}
	return results, nil
}

// Repeated is how many measurements were repeated for noise.
func (r *Runner) Repeated() int { return r.repeated }

// halfOf is half the rate of the slower peer in a case.
func halfOf(results []report.Result, id string) (pps float64, err error) {
	for i := range results {
		if results[i].ID == id {
			return min(results[i].Median(0), results[i].Median(1)) / 2, nil
		}
	}
	return 0, fmt.Errorf("%s has not been measured", id)
}

// round measures both peers; who comes first changes from round to round.
func (r *Runner) round(ctx context.Context, result *report.Result, round int) error {
	for turn := range r.Peers {
		p := (turn + round) % len(r.Peers)
		s, err := r.quietly(ctx, r.Peers[p], result.Case)
		if err != nil {
			return err
		}
		result.Samples[p] = append(result.Samples[p], s)
		r.done++
		r.Progress(fmt.Sprintf("%*d/%d  %s, %s: %s", len(fmt.Sprint(r.total)), r.done, r.total, result.Name, r.Peers[p].Name(), describe(&s)))
	}
	return nil
}

func describe(s *report.Sample) string {
	text := fmt.Sprintf("%.2f Mpps", s.Mpps)
	if s.BusyNS > 0 {
		text += fmt.Sprintf(", %.1f ns/packet", s.BusyNS)
	}
	if s.Latency != nil {
		text += fmt.Sprintf(", p50 %.2f us, p99 %.2f us", s.Latency.P50, s.Latency.P99)
	}
	if s.Noise.Worst() > noise.Tolerable {
		text += fmt.Sprintf(" (others took %.1f %% of a core)", 100*s.Noise.Worst())
	}
	if s.Noise.Drift() > noise.TolerableDrift {
		text += fmt.Sprintf(" (the CPUs moved: %.0f ns to %.0f ns)", s.Noise.DistanceBefore, s.Noise.DistanceAfter)
	}
	return text
}
