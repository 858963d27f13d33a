package pktgen

import "slices"

// Delay is how long frames took, in microseconds. The clocks of sender and receiver need not agree: all but Least is
// what a frame took longer than the fastest one.
type Delay struct {
	// Least is what the fastest one took, plus what the receiver's clock is ahead of the sender's. With the Least of the other direction,
	// between the same clocks, it adds up to the fastest round trip.
	Least float64 `json:"least"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Most  float64 `json:"most"`
}

// maxDelays is how many delays are kept at most.
const maxDelays = 1 << 17

// delays keeps every frame's delay in nanoseconds or, of very many, that of every second, fourth and so on. The zero
// value is empty.
type delays struct {
	kept        []int64
	every, skip int
	least, most int64
}

func (d *delays) add(ns int64) {
	if d.every == 0 {
		d.every, d.least, d.most = 1, ns, ns
	}
	d.least, d.most = min(d.least, ns), max(d.most, ns)
	if d.skip++; d.skip < d.every {
		return
	}
	d.skip = 0
	if len(d.kept) == maxDelays {
		for i := range maxDelays / 2 {
			d.kept[i] = d.kept[2*i+1]
		}
		d.kept, d.every = d.kept[:maxDelays/2], 2*d.every
	}
	d.kept = append(d.kept, ns)
}

func (d *delays) sum() Delay {
	if len(d.kept) == 0 {
		return Delay{}
	}
	slices.Sort(d.kept)
	above := func(q float64) float64 {
		return float64(d.kept[min(int(q*float64(len(d.kept))), len(d.kept)-1)]-d.least) / 1e3
	}
	return Delay{Least: float64(d.least) / 1e3, P50: above(0.5), P90: above(0.9), P99: above(0.99), Most: float64(d.most-d.least) / 1e3}
}
