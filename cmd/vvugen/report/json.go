package report

import (
	"encoding/json"
	"io"

	"vvufwd/cmd/internal/measure"
	"vvufwd/cmd/vvugen/traffic"
)

// The JSON object. Sizes are in bytes, times in the unit that their names say;
// null stands for what was not measured.
type runJSON struct {
	FrameBytes  int             `json:"frame_bytes"`
	Payload     string          `json:"payload"`
	Burst       int             `json:"burst"`
	QueueSize   int             `json:"queue_size"`
	Window      int             `json:"window"`
	RatePPS     float64         `json:"rate_pps"`
	Features    string          `json:"features"`
	HugePages   bool            `json:"huge_pages"`
	CPU         *int            `json:"cpu"`
	DurationSec float64         `json:"duration_s"`
	IdleRounds  float64         `json:"idle_rounds"`
	Delayed     *float64        `json:"delayed"`
	Mpps        float64         `json:"mpps"`
	Gbps        float64         `json:"gbps"`
	PairsMpps   []float64       `json:"pairs_mpps"` // both ways together
	Verified    *bool           `json:"verified"`
	Directions  []directionJSON `json:"directions"`
}

type directionJSON struct {
	Name     string             `json:"name"`
	Mpps     float64            `json:"mpps"`
	Gbps     float64            `json:"gbps"`
	Sent     uint64             `json:"sent"`
	Received uint64             `json:"received"`
	Lost     uint64             `json:"lost"`
	Kicks    uint64             `json:"kicks"`
	Latency  map[string]float64 `json:"latency_us"`
	Faults   map[string]uint64  `json:"faults"`
}

// JSON writes the run as one object on one line.
func JSON(out io.Writer, r Run) error {
	result := &r.Result
	object := runJSON{
		FrameBytes: r.Plan.Size, Payload: r.payload(), Burst: r.Plan.Burst, QueueSize: r.QueueSize,
		Window: r.Plan.Window, RatePPS: r.Plan.Rate, Features: r.Features.String(), HugePages: r.HugePages,
		DurationSec: result.Elapsed.Seconds(), IdleRounds: result.Idle,
	}
	if result.CPU >= 0 {
		object.CPU = &result.CPU
	}
	if result.Delayed >= 0 {
		object.Delayed = &result.Delayed
	}
	right := true
	for i := range result.Directions {
		d := &result.Directions[i]
		j := directionJSON{
			Name: d.Name, Mpps: d.PPS(result.Elapsed) / 1e6, Gbps: d.BPS(result.Elapsed) / 1e9,
			Sent: d.Sent, Received: d.Received, Lost: d.Lost, Kicks: d.Kicks, Latency: latencyJSON(d.Latency),
		}
		if r.Plan.Verify {
			j.Faults = faultsJSON(&d.Faults)
			right = right && !d.Faults.Any()
		}
		object.Mpps += j.Mpps
		object.Gbps += j.Gbps
		object.Directions = append(object.Directions, j)
	}
	for _, pps := range result.Pairs() {
		object.PairsMpps = append(object.PairsMpps, pps/1e6)
	}
	if r.Plan.Verify {
		object.Verified = &right
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

func latencyJSON(h *measure.Histogram) map[string]float64 {
	if h == nil {
		return nil
	}
	m := map[string]float64{"mean": h.Mean() / 1e3, "max": float64(h.Max()) / 1e3}
	for _, q := range quantiles {
		m[q.name] = float64(h.Quantile(q.q)) / 1e3
	}
	return m
}

func faultsJSON(f *traffic.Faults) map[string]uint64 {
	m := map[string]uint64{}
	for _, k := range traffic.Kinds() {
		if f[k].Count != 0 {
			m[k.String()] = f[k].Count
		}
	}
	return m
}
