package speed

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/namespace"
	"vvufwd/virtio"
)

// What "make tapbench" may say behind -args.
var (
	rounds   = flag.Int("rounds", 9, "turns that each way has with either guest")
	mib      = flag.Int64("mib", 128, "how many MiB pass in each")
	more     = flag.String("vvufwd", "", "more flags of vvufwd's")
	jsonFile = flag.String("json", "", "write what was measured to this file")
)

// turn is one transfer.
type turn struct {
	Mbps  float64 `json:"mbps"`
	Frame float64 `json:"frame_bytes"` // mean length of the frames that carry data, as the guest counts them
	CPU   float64 `json:"cpu_ns_kib"`  // of QEMU, and of vvufwd where it takes part, for each KiB
}

// way is all transfers to the guest, or all from it.
type way struct {
	Name   string    `json:"way"`
	Vvufwd []turn    `json:"vvufwd"`
	QEMU   []turn    `json:"qemu"`
	Ratios []float64 `json:"ratios"` // of rates, vvufwd's by QEMU's of the same round
}

// quantile is the value that a share of all values does not exceed.
func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func medianOf(turns []turn, of func(turn) float64) float64 {
	var v []float64
	for _, t := range turns {
		v = append(v, of(t))
	}
	return quantile(v, 0.5)
}

// BenchmarkTAP has the same guest once behind vvufwd, with a vhost-user socket and a TAP port, and once behind QEMU's own TAP device, both
// with all offloads and without vhost-net. They take turns to receive from the host by TCP, and to send to it.
func BenchmarkTAP(b *testing.B) {
	found := findTools(b)
	if !namespace.Inside() {
		runInside(b)
		return
	}
	must(b, namespace.Settle())
	dir, err := os.MkdirTemp("", "v") // paths of sockets must be short
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	sides := newSides(b, found, dir)
	sameFeatures(b, sides)
	ways := []*way{{Name: "to the guest"}, {Name: "from the guest"}}
	for round := range *rounds + 1 {
		for k, w := range ways {
			var both [2]turn
			for i := range sides {
				which := (i + round + k) % 2 // who comes first changes
				both[which] = sides[which].measure(b, *mib<<20, k == 0)
			}
			if round == 0 {
				continue // for warming up
			}
			w.Vvufwd, w.QEMU = append(w.Vvufwd, both[0]), append(w.QEMU, both[1])
			w.Ratios = append(w.Ratios, both[0].Mbps/both[1].Mbps)
		}
	}
	print(os.Stdout, ways)
	if *jsonFile != "" {
		text, err := json.MarshalIndent(ways, "", "\t")
		must(b, err)
		must(b, os.WriteFile(*jsonFile, append(text, '\n'), 0o644))
	}
}

// runInside runs the benchmark again in a network namespace, in which whoever runs it may make TAP devices.
func runInside(b *testing.B) {
	b.Helper()
	args := []string{"-test.run=^$", "-test.bench=^BenchmarkTAP$", "-test.benchtime=1x", "-test.timeout=30m",
		"-rounds", strconv.Itoa(*rounds), "-mib", strconv.FormatInt(*mib, 10), "-vvufwd", *more, "-json", *jsonFile}
	cmd, err := namespace.Command(b.Context(), args...)
	if err != nil {
		b.Skip(err)
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(b, namespace.Run(cmd))
}

// sameFeatures makes sure that neither guest has an offload that the other one has not.
func sameFeatures(b *testing.B, sides [2]*side) {
	b.Helper()
	const matter = virtio.NetCsum | virtio.NetGuestCsum | virtio.NetHostTSO4 | virtio.NetGuestTSO4 | virtio.NetMrgRxbuf | virtio.EventIdx
	for _, s := range sides {
		f, err := s.app.Features(b.Context(), commandLimit)
		must(b, err)
		if f&matter != matter {
			b.Fatalf("the guest of %s has no %v", s.name, matter&^f)
		}
	}
}

// measure is one transfer.
func (s *side) measure(b *testing.B, bytes int64, toGuest bool) turn {
	b.Helper()
	before, cpu := s.device(b), s.cpu(b)
	took, err := s.move(b.Context(), bytes, toGuest)
	must(b, err)
	cpu = s.cpu(b) - cpu
	after := s.device(b)
	frames, length := after.RxPackets-before.RxPackets, after.RxBytes-before.RxBytes
	if !toGuest {
		frames, length = after.TxPackets-before.TxPackets, uint64(bytes)
	}
	return turn{Mbps: float64(bytes) * 8 / 1e6 / took.Seconds(), Frame: float64(length) / float64(max(1, frames)), CPU: cpu * 1e9 / float64(bytes>>10)}
}

func (s *side) device(b *testing.B) guest.Device {
	b.Helper()
	d, err := s.app.Device(b.Context(), commandLimit)
	must(b, err)
	return d
}

// cpu is how much CPU time the processes of a side have had, in seconds.
func (s *side) cpu(b *testing.B) (seconds float64) {
	b.Helper()
	for _, p := range s.processes {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID()), "stat"))
		must(b, err)
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12} { // utime and stime, see proc(5)
			ticks, err := strconv.ParseUint(fields[i], 10, 64)
			must(b, err)
			seconds += float64(ticks) / 100 // USER_HZ
		}
	}
	return seconds
}

// print prints medians, and of ratios the 20th and the 80th percentile, too.
func print(out io.Writer, ways []*way) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\n\tQEMU, Mbit/s\tvvufwd, Mbit/s\tratio\tp20\tp80\tbytes a frame: QEMU\tvvufwd\tCPU ns/KiB: QEMU\tvvufwd\t")
	for _, w := range ways {
		fmt.Fprintf(t, "%s\t", w.Name)
		for _, turns := range [][]turn{w.QEMU, w.Vvufwd} {
			fmt.Fprintf(t, "%.0f\t", medianOf(turns, func(t turn) float64 { return t.Mbps }))
		}
		for _, share := range []float64{0.5, 0.2, 0.8} {
			fmt.Fprintf(t, "%.2f\t", quantile(w.Ratios, share))
		}
		for _, of := range []func(turn) float64{func(t turn) float64 { return t.Frame }, func(t turn) float64 { return t.CPU }} {
			for _, turns := range [][]turn{w.QEMU, w.Vvufwd} {
				fmt.Fprintf(t, "%.0f\t", medianOf(turns, of))
			}
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

func TestQuantile(t *testing.T) {
	for share, want := range map[float64]float64{0: 1, 0.2: 1.8, 0.5: 3, 0.8: 4.2, 1: 5} {
		if got := quantile([]float64{5, 1, 4, 2, 3}, share); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("quantile %v is %v, want %v", share, got, want)
		}
	}
}
