package report

import (
	"vvufwd/cmd/vvugen/traffic"
	"vvufwd/virtio"
)

// Run is what there is to report: what was asked for, and what came of it.
type Run struct {
	Plan      traffic.Plan
	Result    traffic.Result
	QueueSize int
	Features  virtio.Features // negotiated, of the first port
	HugePages bool            // the shared memory is made of huge pages
}

// payload names what was written of each frame.
func (r *Run) payload() string {
	if r.Plan.Full {
		return "full"
	}
	return "headers"
}

// quantiles are the latencies that are reported.
var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}
