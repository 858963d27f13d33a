package load

import (
	"context"
	"time"

	"vvufwd/cmd/vvubench/plan"
)

// Load loads forwarders. Owned by one goroutine.
type Load interface {
	// Run connects to the sockets of a running forwarder, calls begin once,
	// from any goroutine, when it begins to send, and returns what came out.
	Run(ctx context.Context, job Job, begin func()) (Outcome, error)
}

// Job says what to send.
type Job struct {
	plan.Case             // its Rate is what is sent; HalfOf plays no part
	Pairs     [][2]string // sockets
	CPU       int         // sends and receives
	OtherCPU  int         // for what else has to run somewhere
	Duration  time.Duration
	LogPath   string // receives what the load prints
}

// Outcome is what a load has seen. Rates are the sum of all directions.
type Outcome struct {
	Mpps  float64   // that came out
	Gbps  float64   // bits of frames
	Pairs []float64 // Mpps of each pair
	Lost  uint64    // frames that did not come out
	// Idle is the share of rounds in which the load waited for the forwarder: near
	// 0 it was the limit; -1 if unknown.
	Idle float64
	// Delayed is the share of time that others ran on the load's CPU; -1 if unknown.
	Delayed float64
	Latency *Latency // nil unless measured
}

// Latency is how long frames took, in microseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}
