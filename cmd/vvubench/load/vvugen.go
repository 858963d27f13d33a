package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"vvufwd/cmd/internal/lab/vm"
)

// spare is how long vvugen may take besides sending: to connect, to settle, to
// drain and to give up on a forwarder that does nothing.
const spare = 30 * time.Second

// sending is the line that vvugen prints when all has been prepared: to start and to
// wait for the forwarder took it time on both CPUs that is no noise.
const sending = "sending"

// Vvugen is this project's generator.
type Vvugen struct{ program string }

// NewVvugen makes a load of a program.
func NewVvugen(program string) *Vvugen { return &Vvugen{program} }

// arguments is vvugen's command line.
func (v *Vvugen) arguments(job Job) []string {
	var args []string
	for _, pair := range job.Pairs {
		args = append(args, "--port", pair[0], "--port", pair[1])
	}
	args = append(args, "--cpu", strconv.Itoa(job.CPU), "--size", strconv.Itoa(job.Size), "--duration", job.Duration.String(), "--json")
	for _, flag := range []struct {
		on   bool
		args []string
	}{
		{job.Full, []string{"--payload", "full"}},
		{job.Both, []string{"--both"}},
		{job.Packed, []string{"--packed"}},
		{job.Latency, []string{"--latency"}},
		{job.Rate > 0, []string{"--rate", strconv.FormatFloat(job.Rate, 'f', 0, 64)}},
	} {
		if flag.on {
			args = append(args, flag.args...)
		}
	}
	return args
}

// Run implements Load.
func (v *Vvugen) Run(ctx context.Context, job Job, begin func()) (Outcome, error) {
	var mu sync.Mutex
	var object string
	begun := sync.OnceFunc(begin)
	child, err := vm.Start(vm.Config{
		Name: "vvugen", Argv: append([]string{v.program}, v.arguments(job)...), LogPath: job.LogPath,
		OnLine: func(line string) {
			switch {
			case line == sending:
				begun()
			case strings.HasPrefix(line, "{"):
				mu.Lock()
				object = line
				mu.Unlock()
			}
		},
	})
	if err != nil {
		return Outcome{}, err
	}
	if err := child.WaitExit(ctx, job.Duration+spare); err != nil {
		return Outcome{}, errors.Join(err, child.Close())
	}
	mu.Lock()
	defer mu.Unlock()
	outcome, err := parseVvugen(object)
	if err == nil && job.Latency && outcome.Latency == nil {
		err = errors.New("it has not measured latency")
	}
	if err != nil {
		return outcome, child.Explain(err)
	}
	return outcome, nil
}

// generated are the parts of vvugen's JSON object that matter here.
type generated struct {
	Mpps       float64
	Gbps       float64
	Pairs      []float64 `json:"pairs_mpps"`
	Idle       float64   `json:"idle_rounds"`
	Delayed    *float64
	Directions []struct {
		Lost    uint64
		Latency *Latency `json:"latency_us"`
	}
}

// parseVvugen reads the object that vvugen --json prints. Of several directions'
// latencies the worst count.
func parseVvugen(object string) (o Outcome, err error) {
	var g generated
	if err := json.Unmarshal([]byte(object), &g); err != nil || len(g.Directions) == 0 {
		return o, fmt.Errorf("its result is %.100q: it should print one JSON object", object)
	}
	o = Outcome{Mpps: g.Mpps, Gbps: g.Gbps, Pairs: g.Pairs, Idle: g.Idle, Delayed: -1}
	if g.Delayed != nil {
		o.Delayed = *g.Delayed
	}
	for _, d := range g.Directions {
		o.Lost += d.Lost
		if d.Latency == nil {
			continue
		}
		if o.Latency == nil {
			o.Latency = new(Latency)
		}
		l := o.Latency
		*l = Latency{max(l.P50, d.Latency.P50), max(l.P90, d.Latency.P90), max(l.P99, d.Latency.P99), max(l.Max, d.Latency.Max)}
	}
	return o, nil
}
