package noise

// Report is how much else happened during one measurement: shares of its time,
// 0 to 1, or -1 where the kernel does not tell.
type Report struct {
	Forwarder  float64 `json:"forwarder_delayed"` // others ran on its CPU
	Generator  float64 `json:"generator_delayed"`
	Steal      float64 `json:"steal"`      // of the CPU that lost more
	Interrupts float64 `json:"interrupts"` // hard and soft; of the CPU that had more
}

// Tolerable is how large a share of a CPU's time others may have taken from a
// measurement that counts as quiet.
const Tolerable = 0.02

// Worst is the largest share that others took.
func (r Report) Worst() float64 { return max(r.Forwarder, r.Generator, r.Steal) }

// Quiet reports whether others took little enough.
func (r Report) Quiet() bool { return r.Worst() <= Tolerable }
