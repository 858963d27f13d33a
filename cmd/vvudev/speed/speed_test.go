package speed

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvugen/port"
	"vvufwd/cmd/vvugen/traffic"
	"vvufwd/virtio"
)

// What "make shadowbench" may say behind -args.
var (
	rounds   = flag.Int("rounds", 5, "turns that each path has")
	duration = flag.Duration("turn", 300*time.Millisecond, "how long each takes")
	jsonFile = flag.String("json", "", "write what was measured to this file")
)

// load is what passes both paths.
type load struct {
	Size int  `json:"frame_bytes"`
	Both bool `json:"both_ways"`
	Rate int  `json:"rate_pps"` // 0: as much as passes, without latency
}

func (l load) String() string {
	way := "out of the app VM"
	if l.Both {
		way = "both ways"
	}
	if l.Rate > 0 {
		return fmt.Sprintf("%d B, %d frames a second", l.Size, l.Rate)
	}
	return fmt.Sprintf("%d B, %s", l.Size, way)
}

var loads = []load{{64, false, 0}, {64, true, 0}, {1518, false, 0}, {1518, true, 0}, {64, false, 10_000}, {64, false, 100_000}, {1518, false, 10_000}}

// figures are of one path under one load: medians of all turns.
type figures struct {
	Mpps   float64 `json:"mpps"`
	BusyNS float64 `json:"busy_ns"` // of all loops for a frame, polls that find nothing left out
	MostNS float64 `json:"most_ns"` // of the loop that had most to do
	P50    float64 `json:"p50_us,omitempty"`
	P99    float64 `json:"p99_us,omitempty"`
	Lost   uint64  `json:"lost"`
}

// row compares them.
type row struct {
	load
	Direct figures `json:"direct"`
	Shadow figures `json:"shadow"`
	Ratio  float64 `json:"ratio"` // of rates, or of median latencies; the median of the turns' ratios
}

// report is the JSON.
type report struct {
	CPUs  int    `json:"cpus"`
	Loops string `json:"loops"`
	Rows  []row  `json:"rows"`
}

// places are the CPUs for the generator and for loops.
func places(t testing.TB) (generator int, loops []int, text string) {
	t.Helper()
	var set unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &set))
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	switch {
	case len(cpus) >= 3:
		return cpus[0], cpus[1:3], "a CPU for vvudev's and one for vvufwd's"
	case len(cpus) == 2:
		return cpus[0], cpus[1:], "one CPU, on which a single loop does vvudev's work and vvufwd's"
	}
	t.Skip("takes two CPUs")
	return 0, nil, ""
}

// patience is with loops that others do not let run.
const patience = time.Minute

// turn loads a path once.
func turn(t testing.TB, p *path, l load, cpu int, duration time.Duration, verify bool) figures {
	t.Helper()
	open := func(socket string, memory *os.File) *port.Port {
		if memory != nil { // zeroed, as a machine's is that starts
			must(t, memory.Truncate(appMemory))
			must(t, unix.Fallocate(int(memory.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, appMemory))
		}
		g, err := port.Open(t.Context(), port.Config{
			Socket: socket, Memory: memory, Features: virtio.NetMrgRxbuf | virtio.EventIdx, QueueSize: 256, FrameSize: l.Size, Timeout: patience,
		})
		must(t, err)
		return g
	}
	app, peer := open(p.app, p.memory), open(p.peer, nil)
	ways := []traffic.Way{{From: app, To: peer}}
	if l.Both {
		ways = append(ways, traffic.Way{From: peer, To: app})
	}
	runner, err := traffic.NewRunner(traffic.Plan{
		Size: l.Size, Burst: 32, Duration: duration, Rate: float64(l.Rate), Window: 256 / app.BuffersPerFrame(), Latency: l.Rate > 0, Verify: verify, Checksum: verify,
		Drain: patience, Stall: patience, // a machine may be busy with something else
	}, ways)
	must(t, err)
	var all, most int64
	runner.OnSend = func() { all, most = p.busy() }
	result, err := runner.Run(t.Context(), cpu)
	must(t, err)
	allNow, mostNow := p.busy()
	must(t, app.Close())
	must(t, peer.Close())
	f, received := figures{}, uint64(0)
	for i := range result.Directions {
		d := &result.Directions[i]
		f.Mpps += d.PPS(result.Elapsed) / 1e6
		f.Lost += d.Lost
		received += d.Received
		if d.Latency != nil {
			f.P50, f.P99 = max(f.P50, float64(d.Latency.Quantile(0.5))/1e3), max(f.P99, float64(d.Latency.Quantile(0.99))/1e3)
		}
		if verify && d.Faults.Any() {
			t.Errorf("%v: %v", l, d.Faults)
		}
	}
	if received == 0 {
		t.Fatalf("%v: nothing passed", l)
	}
	f.BusyNS, f.MostNS = float64(allNow-all)/float64(received), float64(mostNow-most)/float64(received)
	return f
}

// median is of one figure of all turns.
func median(turns []figures, of func(figures) float64) float64 {
	var v []float64
	for _, f := range turns {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// sum sums turns up.
func sum(turns []figures) (f figures) {
	f.Mpps = median(turns, func(f figures) float64 { return f.Mpps })
	f.BusyNS = median(turns, func(f figures) float64 { return f.BusyNS })
	f.MostNS = median(turns, func(f figures) float64 { return f.MostNS })
	f.P50 = median(turns, func(f figures) float64 { return f.P50 })
	f.P99 = median(turns, func(f figures) float64 { return f.P99 })
	for _, turn := range turns {
		f.Lost += turn.Lost
	}
	return f
}

// BenchmarkShadow is throughput and latency with a shadow region and without, taking turns: vvugen's generator on one CPU, vvudev's
// and vvufwd's loops on one each, or on one together if there are no more.
func BenchmarkShadow(b *testing.B) {
	cpu, cpus, text := places(b)
	r := report{CPUs: runtime.NumCPU(), Loops: text}
	for _, l := range loads {
		row := row{load: l}
		var turns [2][]figures
		var ratios []figures
		for round := range *rounds {
			for i := range turns {
				k := (i + round) % 2 // who comes first changes
				p := newPath(b, k == 1, false, cpus)
				turns[k] = append(turns[k], turn(b, p, l, cpu, *duration, false))
				p.close()
			}
			direct, shadow := turns[0][round], turns[1][round]
			ratio := shadow.Mpps / direct.Mpps
			if l.Rate > 0 {
				ratio = shadow.P50 / direct.P50
			}
			ratios = append(ratios, figures{Mpps: ratio})
		}
		row.Direct, row.Shadow, row.Ratio = sum(turns[0]), sum(turns[1]), median(ratios, func(f figures) float64 { return f.Mpps })
		r.Rows = append(r.Rows, row)
	}
	r.print()
	if *jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "\t")
		must(b, err)
		must(b, os.WriteFile(*jsonFile, append(text, '\n'), 0o644))
	}
}

func (r *report) print() {
	fmt.Printf("\nloops: %s\n\n", r.Loops)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdirect\tshadow\tratio\tbusy ns a frame, direct\tshadow\tlost\t")
	for _, r := range r.Rows {
		unit, direct, shadow := "Mpps", r.Direct.Mpps, r.Shadow.Mpps
		if r.Rate > 0 {
			unit, direct, shadow = "us p50", r.Direct.P50, r.Shadow.P50
		}
		fmt.Fprintf(t, "%v, %s\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%d\t\n", r.load, unit, direct, shadow, r.Ratio, r.Direct.BusyNS, r.Shadow.BusyNS, r.Direct.Lost+r.Shadow.Lost)
	}
	t.Flush()
}

// Both paths bring all frames, as they were, both ways.
func TestPaths(t *testing.T) {
	for _, shadowed := range []bool{false, true} {
		for _, packed := range []bool{false, true}[:1+btoi(shadowed)] {
			t.Run(fmt.Sprintf("shadow %v packed %v", shadowed, packed), func(t *testing.T) {
				p := newPath(t, shadowed, packed, []int{-1})
				defer p.close()
				const turns, rings = 2, 2
				for range turns {
					if f := turn(t, p, load{Size: 300, Both: true}, -1, 50*time.Millisecond, true); f.Lost != 0 {
						t.Errorf("%+v", f)
					}
				}
				// Each would be an exit of the driver VM, which vvudev spares it while it polls: but for the first buffer of a split ring, of
				// which a device cannot know whether it is asked for.
				n, frames := p.doorbells()
				most := frames / 1000
				if !packed {
					most += turns * rings
				}
				if shadowed && n > most || frames == 0 {
					t.Errorf("the driver VM rang %d doorbells for %d frames", n, frames)
				}
			})
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
