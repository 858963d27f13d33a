package report

import (
	"time"

	"vvufwd/cmd/vvubench/load"
	"vvufwd/cmd/vvubench/noise"
	"vvufwd/cmd/vvubench/plan"
)

// Document is a whole benchmark.
type Document struct {
	Time         time.Time     `json:"time"` // when it began
	Machine      noise.Machine `json:"machine"`
	Peers        [2]Peer       `json:"peers"` // the second is compared with the first
	Generator    string        `json:"generator"`
	CPU          int           `json:"forwarder_cpu"`
	GeneratorCPU int           `json:"generator_cpu"`
	Rounds       int           `json:"rounds"`
	Seconds      float64       `json:"seconds"` // of each measurement
	Repeated     int           `json:"repeated"`
	Cases        []Result      `json:"cases"`
	// Failure says why cases or rounds are missing; empty if none are.
	Failure string `json:"failure,omitempty"`
}

// Peer is one of the two that are compared.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Result is what was measured in one case: samples of both peers, by round.
type Result struct {
	plan.Case
	Name    string      `json:"name"`
	Samples [2][]Sample `json:"samples"`
}

// Sample is one measurement. Shares are from 0 to 1, and -1 if unknown.
type Sample struct {
	Mpps      float64       `json:"mpps"` // that came out, of all directions
	Gbps      float64       `json:"gbps"`
	PairsMpps []float64     `json:"pairs_mpps"`
	BusyNS    float64       `json:"busy_ns_per_packet"` // 0 if unknown
	Lost      uint64        `json:"lost"`
	Idle      float64       `json:"generator_idle"` // share of its rounds
	Latency   *load.Latency `json:"latency_us,omitempty"`
	Noise     noise.Report  `json:"noise"`
	Attempts  int           `json:"attempts"` // until it was quiet, or there were enough
}
