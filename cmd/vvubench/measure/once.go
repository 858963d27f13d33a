package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/peer"
	"vvufwd/cmd/vvubench/plan"
	"vvufwd/cmd/vvubench/report"
)

// attempts is how often a measurement is made at most until it is quiet.
const attempts = 3

// repeatable is how many repetitions there may be for noise, altogether: a
// quarter of all measurements, or a machine that is never quiet would take three
// times as long for nothing.
func (r *Runner) repeatable() int { return max(attempts-1, r.total/4) }

// quietly measures until nothing else has taken much of either core and these have
// stayed where they were, and keeps the quietest measurement.
func (r *Runner) quietly(ctx context.Context, p peer.Peer, c plan.Case) (best report.Sample, err error) {
	for attempt := 1; ; attempt++ {
		s, err := r.once(ctx, p, c)
		if err != nil {
			return s, err
		}
		if attempt == 1 || s.Noise.Loudness() < best.Noise.Loudness() {
			best = s
		}
		best.Attempts = attempt
		if s.Noise.Quiet() || attempt == attempts || r.repeated >= r.repeatable() {
			return best, nil
		}
		r.repeated++
	}
}

// once starts a forwarder, loads it, and stops it again. How far the CPUs are from
// each other it finds out while they are free: before and after.
func (r *Runner) once(ctx context.Context, p peer.Peer, c plan.Case) (s report.Sample, err error) {
	dir, err := os.MkdirTemp(r.Dir, "")
	if err != nil {
		return s, fmt.Errorf("directory for sockets: %w", err)
	}
	n, err := r.connect(c.Through)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	pairs := make([][2]string, c.Pairs)
	for i := range pairs {
		pairs[i] = [2]string{filepath.Join(dir, fmt.Sprintf("%da", i)), filepath.Join(dir, fmt.Sprintf("%db", i))}
	}
	before, err := r.distance(r.CPU, r.LoadCPU)
	if err != nil {
		return s, err
	}
	f, err := p.Start(ctx, peer.Job{
		Pairs: pairs, CPU: r.CPU, ControlCPU: r.LoadCPU, Switch: c.Switch && p == r.Peers[1], LogPath: filepath.Join(dir, "forwarder.log"),
		Through: c.Through, Interfaces: n.interfaces(),
	})
	if err != nil {
		return s, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.RemoveAll(dir) // after a failure its logs are of use
		}
	}()
	if err := n.join(ctx); err != nil {
		return s, err
	}
	outcome, heard, err := r.load(ctx, f, load.Job{
		Case: c, Pairs: pairs, CPU: r.LoadCPU, OtherCPU: r.CPU, Duration: r.Duration, LogPath: filepath.Join(dir, "load.log"),
	})
	if err != nil {
		return s, fmt.Errorf("%s: %w", p.Name(), err)
	}
	work, err := f.Stop(ctx)
	if err != nil {
		return s, err
	}
	heard.DistanceBefore = before
	if heard.DistanceAfter, err = r.distance(r.CPU, r.LoadCPU); err != nil {
		return s, err
	}
	return report.Sample{
		Mpps: outcome.Mpps, Gbps: outcome.Gbps, PairsMpps: outcome.Pairs, BusyNS: work.BusyPerPacket(), Lost: outcome.Lost,
		Idle: outcome.Idle, Latency: outcome.Latency, Noise: heard, Attempts: 1,
	}, nil
}

// load loads a forwarder and listens for noise meanwhile.
func (r *Runner) load(ctx context.Context, f peer.Forwarder, job load.Job) (outcome load.Outcome, heard noise.Report, err error) {
	l := r.Load
	if job.Opinion {
		l = r.Opinion
	}
	var ear listener
	var deaf error
	outcome, err = l.Run(ctx, job, func() { ear, deaf = r.begin(f.PID(), r.CPU, r.LoadCPU) })
	if err = errors.Join(err, deaf); err != nil {
		return outcome, heard, err
	}
	if ear == nil {
		return outcome, heard, errors.New("the load has not said when it began to send: is vvugen as new as vvubench?")
	}
	heard, err = ear.End(outcome.Delayed)
	return outcome, heard, err
}
