package traffic

import (
	"time"

	"vvufwd/cmd/internal/measure"
)

// Result is the outcome of a run.
type Result struct {
	Elapsed    time.Duration // from the first to the last moment of sending
	CPU        int           // that the loop was pinned to, -1 if none
	Idle       float64       // share of rounds that waited for the back-end, and of time at rest; near 0 the generator is the limit
	Delayed    float64       // share of Elapsed in which others had the CPU although the loop wanted it; -1 if unknown
	Directions []DirectionResult
}

// DirectionResult is the outcome of one direction.
type DirectionResult struct {
	Name     string
	Pair     int    // of ports
	Sent     uint64 // frames; 0 without a source
	Received uint64 // frames received, or taken by the back-end if there is no sink
	Lost     uint64 // sent and not received
	Frames   uint64 // of Received, those within Elapsed
	Bytes    uint64 // in those frames
	Kicks    uint64 // notifications that the back-end wanted

	Faults  Faults             // Verify only, except Lost and Malformed
	Latency *measure.Histogram // nil unless measured
}

// Pairs returns the number of frames per second that came out of each pair, both
// ways together.
func (r *Result) Pairs() (pps []float64) {
	for i := range r.Directions {
		d := &r.Directions[i]
		for d.Pair >= len(pps) {
			pps = append(pps, 0)
		}
		pps[d.Pair] += d.PPS(r.Elapsed)
	}
	return pps
}

// PPS is the number of frames per second that came out.
func (d *DirectionResult) PPS(elapsed time.Duration) float64 {
	return float64(d.Frames) / elapsed.Seconds()
}

// BPS is the number of bits per second that came out, frames only.
func (d *DirectionResult) BPS(elapsed time.Duration) float64 {
	return float64(d.Bytes) * 8 / elapsed.Seconds()
}

// mark remembers what had come out when sending ended.
func (d *direction) mark() (frames, bytes uint64) {
	frames = d.done()
	if d.sink != nil {
		return frames, d.sink.bytes
	}
	return frames, frames * uint64(d.plan.Size)
}

// result sums the direction up once it has been drained.
func (d *direction) result(frames, bytes uint64) DirectionResult {
	r := DirectionResult{Name: d.name, Pair: d.pair, Sent: d.sent(), Received: d.done(), Frames: frames, Bytes: bytes}
	if d.source != nil {
		r.Kicks += d.source.tx.Kicks()
		r.Lost = r.Sent - min(r.Sent, r.Received)
	}
	if d.sink != nil {
		r.Kicks += d.sink.rx.Kicks()
		r.Faults, r.Latency = d.sink.faults, d.sink.latency
		r.Faults[Malformed].Count = d.sink.rx.Malformed()
		if d.plan.Verify {
			r.Lost = d.sink.order.Lost(r.Sent)
		}
	}
	r.Faults[Lost].Count = r.Lost
	return r
}
