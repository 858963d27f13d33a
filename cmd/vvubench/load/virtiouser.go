package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vvufwd/cmd/vvubench/testpmd"
)

// VirtioUser is testpmd as the front-end: its mode "flowgen" sends frames of many
// flows out of both ports, as many as the forwarder takes, and drops what comes in.
type VirtioUser struct{ program *testpmd.Program }

// NewVirtioUser makes a load of a program.
func NewVirtioUser(program *testpmd.Program) *VirtioUser { return &VirtioUser{program} }

// rampUp is how many printed rates are left out: the first is from before it sends,
// the next from while it begins.
const rampUp = 2

// fewMbufs keeps its frames in its caches, more or less: its pool is a queue, so
// that all mbufs there are take their turn.
const fewMbufs = "--total-num-mbufs=2560"

// Run implements Load. It measures for whole seconds, one at least.
func (v *VirtioUser) Run(ctx context.Context, job Job, begin func()) (Outcome, error) {
	if len(job.Pairs) != 1 || !job.Both || job.Rate > 0 || job.Full || job.Latency {
		return Outcome{}, fmt.Errorf("testpmd's virtio-user cannot be the load of %v", job.Case)
	}
	p, err := testpmd.Start(ctx, v.program, testpmd.Config{
		Name: "testpmd's virtio-user", Mode: "flowgen", CPU: job.CPU, ControlCPU: job.OtherCPU, LogPath: job.LogPath,
		Ports:     []testpmd.Port{testpmd.VirtioUser{Socket: job.Pairs[0][0]}, testpmd.VirtioUser{Socket: job.Pairs[0][1]}},
		FrameSize: job.Size, RatesEvery: time.Second, Args: []string{fewMbufs},
	})
	if err != nil {
		return Outcome{}, err
	}
	begin()
	rates, err := await(ctx, p, rampUp+max(1, int(job.Duration/time.Second)))
	if err != nil {
		return Outcome{}, errors.Join(err, p.Close())
	}
	totals, err := p.Stop(ctx)
	if err != nil {
		return Outcome{}, errors.Join(err, p.Close())
	}
	return outcome(rates[rampUp:], totals, job.Size), nil
}

// await waits until so many rates have been printed.
func await(ctx context.Context, p *testpmd.Process, n int) ([]testpmd.Rates, error) {
	deadline := time.Now().Add(time.Duration(n)*time.Second + spare)
	for {
		if rates := p.Rates(); len(rates) >= n {
			return rates[:n], nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.Done():
			return nil, errors.New("testpmd's virtio-user ended while it was sending; see its log")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("testpmd's virtio-user has not printed %d rates", n)
		}
	}
}

// outcome sums up what came in at both ports.
func outcome(rates []testpmd.Rates, totals testpmd.Totals, size int) Outcome {
	var pps float64
	for _, r := range rates {
		for _, port := range r {
			pps += port.Rx
		}
	}
	pps /= float64(len(rates))
	return Outcome{
		Mpps: pps / 1e6, Gbps: pps * float64(size) * 8 / 1e9, Pairs: []float64{pps / 1e6},
		Lost: totals.All.TxPackets - min(totals.All.TxPackets, totals.All.RxPackets), Idle: -1, Delayed: -1,
	}
}
