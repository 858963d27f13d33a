package noise

// Report is how much else happened during one measurement: shares of its time,
// 0 to 1, or -1 where the kernel does not tell. Distances are nanoseconds, see
// Distance, or -1 where they are not known.
type Report struct {
	Forwarder  float64 `json:"forwarder_delayed"` // others ran on its CPU
	Generator  float64 `json:"generator_delayed"`
	Steal      float64 `json:"steal"`      // of the CPU that lost more
	Interrupts float64 `json:"interrupts"` // hard and soft; of the CPU that had more

	DistanceBefore float64 `json:"distance_before_ns"` // from the forwarder's CPU to the generator's, before the forwarder started
	DistanceAfter  float64 `json:"distance_after_ns"`  // once it had ended
}

// What a measurement that counts as quiet may have gone through.
const (
	Tolerable      = 0.02    // share of a CPU's time that others took
	TolerableDrift = 1.0 / 3 // by which the larger distance exceeds the smaller
)

// Worst is the largest share that others took.
func (r Report) Worst() float64 { return max(r.Forwarder, r.Generator, r.Steal) }

// Drift is by how much the larger distance exceeds the smaller one, as a share of
// it; 0 if they are not known.
func (r Report) Drift() float64 {
	low, high := min(r.DistanceBefore, r.DistanceAfter), max(r.DistanceBefore, r.DistanceAfter)
	if low <= 0 {
		return 0
	}
	return high/low - 1
}

// Loudness is how far from tolerable the worst that happened was: above 1 it was
// too much.
func (r Report) Loudness() float64 { return max(r.Worst()/Tolerable, r.Drift()/TolerableDrift) }

// Quiet reports whether others took little enough and the CPUs stayed where they
// were.
func (r Report) Quiet() bool { return r.Loudness() <= 1 }
