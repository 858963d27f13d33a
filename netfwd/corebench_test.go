package netfwd

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/vring"
)

// What "make corebench" may say behind -args.
var (
	corePeer   = flag.String("peer", "", "a program that measures another forwarder the same way, see coreRows")
	coreBound  = flag.String("bound", "", "a program that measures the least that it can cost")
	coreRounds = flag.Int("rounds", 3, "turns that each of them has")
	coreJSON   = flag.String("json", "", "write rows to this file")
)

// coreRow is the cost of one frame on one core.
type coreRow struct {
	DUT    string  `json:"dut"`
	Ring   string  `json:"ring"`
	Size   int     `json:"size"`
	Min    float64 `json:"ns_min"`
	Median float64 `json:"ns_median"` // of the turns' medians
}

// coreRig is queue pairs of two guests, whose drivers are on the same core, and what joins
// them: one of the first guest, and one or more of the second.
type coreRig struct {
	group  group
	guests []*guest.Port
	tx     *coreRing   // of the first guest
	rx     []*coreRing // of the second
}

func newCoreRig(t testing.TB, packed bool, size, pairs int, join func([]Port) group) *coreRig {
	c := &coreRig{guests: make([]*guest.Port, 1+pairs)}
	var ports []Port
	queues := make([]*guest.Queues, 1+pairs)
	for p := range c.guests {
		m := coreMemory(t)
		table, err := mem.New([]mem.Region{{GPA: coreGPA, Mem: m}})
		if err != nil {
			t.Fatal(err)
		}
		c.guests[p] = guest.New(fmt.Sprint("guest ", p), func(ring string, err error) { t.Errorf("%s ring: %v", ring, err) })
		var rings [2]*vring.Device
		for k := range rings {
			r := newCoreRing(m, packed, k == 0, size)
			switch r.flows = pairs; { // frames go from the first guest's transmit ring to the second's receive rings
			case p == 0 && k == 1:
				c.tx = r
			case p > 0 && k == 0:
				c.rx = append(c.rx, r)
				r.number = uint64((p-1+pairs-1)%pairs+1) - uint64(pairs)
			}
			cfg := vring.DeviceConfig{
				Size: coreSize, Mem: table, Packed: packed, InOrder: true, ReadOnly: k == 1, // as the peers have it
				Desc: coreGPA + mem.GPA(r.desc), Avail: coreGPA + mem.GPA(r.avail), Used: coreGPA + mem.GPA(r.used),
			}
			if packed {
				cfg.NextAvail = vring.FirstSlot
			}
			if rings[k], err = vring.NewDevice(cfg); err != nil {
				t.Fatal(err)
			}
		}
		queues[p] = &guest.Queues{
			ToGuest: rings[0], FromGuest: rings[1], ToGuestEnabled: true, FromGuestEnabled: true,
			HeaderLen: virtionet.HeaderLen, Mergeable: true,
		}
		ports = append(ports, c.guests[p])
	}
	for _, rx := range c.rx {
		rx.offer(coreSize)
	}
	c.group = join(ports)
	installed := make(chan struct{})
	go func() {
		for i, g := range c.guests {
			g.Install(queues[i])
		}
		close(installed)
	}()
	for waiting := true; waiting; {
		select {
		case <-installed:
			waiting = false
		default:
			c.group.step()
			c.group.housekeep(time.Now())
		}
	}
	return c
}

// take takes a burst at all rings, and offers buffers for the next.
func (c *coreRig) take() {
	c.tx.take(coreBurst)
	for _, rx := range c.rx {
		rx.take(coreBurst / len(c.rx))
		rx.offer(coreBurst / len(c.rx))
	}
}

// steeredOf joins the first port with the others as queue pairs of one guest, which has
// sent each of the generator's flows through another one.
func steeredOf(ports []Port) group {
	d, l := newSteeredLane(ports[0], ports[1:]...)
	for _, q := range d.steer.queues {
		l.addIdle(newDirection(q)) // for its changes
	}
	for i := range ports[1:] {
		b := append(addressOf(station(1)), addressOf(station(0))...)
		b[11] |= byte(i)
		d.steer.flows[flowHash(packet.Flow(append(b, 0, 0)))] = uint8(i + 1)
	}
	return l
}

// turn serves bursts and returns what a frame has cost in each of some short runs, in
// ticks, sorted. Drivers are not timed.
func (c *coreRig) turn(t testing.TB) []uint64 {
	const runs, bursts = 200, 100
	var ticks []uint64
	for run := -10; run < runs; run++ {
		var spent uint64
		for range bursts {
			c.tx.offer(coreBurst)
			at := cycles()
			c.group.step()
			spent += cycles() - at
			c.take()
		}
		if run >= 0 {
			ticks = append(ticks, spent/bursts)
		}
	}
	bad := c.tx.bad
	for _, rx := range c.rx {
		bad += rx.bad
	}
	if bad != 0 {
		t.Fatalf("%d completions are not what they should be", bad)
	}
	if n := c.guests[0].Counters(); n.Plain != n.RxPackets || n.Plain == 0 {
		t.Fatalf("%d of %d frames were plain", n.Plain, n.RxPackets)
	}
	slices.Sort(ticks)
	return ticks
}

// tickTime is how long a tick of cycles is.
func tickTime() time.Duration {
	var clock busyClock
	clock.start()
	time.Sleep(100 * time.Millisecond)
	clock.tick(false)
	clock.busy = 1 << 40
	return clock.busyTime() // of 2^40 ticks, for precision
}

// BenchmarkCore is what a frame costs on one core, split and packed, in a pair and in a
// switch: that does not depend on how far two cores are from each other. Programs that
// measure others take turns with it: they are called with -s SIZE -b BUFFERS -r RUNS -n
// BURSTS, and -p for packed rings, and print "min X p10 Y med Z" in nanoseconds and "bad
// 0". What is looked for in both is the minimum.
func BenchmarkCore(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	perTick := float64(tickTime()) / (1 << 40)
	var rows []coreRow
	for _, packed := range []bool{false, true} {
		for _, size := range []int{64, 1518} {
			ring := map[bool]string{false: "split", true: "packed"}[packed]
			rigs := map[string]*coreRig{
				"vvufwd": newCoreRig(b, packed, size, 1, pairOf), "vvufwd, switch": newCoreRig(b, packed, size, 1, switchOf),
				"vvufwd, steered to 2": newCoreRig(b, packed, size, 2, steeredOf),
			}
			found := map[string]*coreRow{}
			var names []string
			medians := map[string][]float64{}
			note := func(dut string, min, median float64) {
				r := found[dut]
				if r == nil {
					r = &coreRow{DUT: dut, Ring: ring, Size: size, Min: min}
					found[dut], names = r, append(names, dut)
				}
				r.Min = math.Min(r.Min, min)
				medians[dut] = append(medians[dut], median)
			}
			for range *coreRounds {
				for dut, c := range rigs {
					ticks := c.turn(b)
					ns := func(t uint64) float64 { return float64(t) * perTick / coreBurst }
					note(dut, ns(ticks[0]), ns(ticks[len(ticks)/2]))
				}
				for dut, program := range map[string]string{"peer": *corePeer, "bound": *coreBound} {
					if program != "" {
						min, median := coreRun(b, program, size, packed)
						note(dut, min, median)
					}
				}
			}
			slices.Sort(names)
			for _, dut := range names {
				slices.Sort(medians[dut])
				found[dut].Median = medians[dut][len(medians[dut])/2]
				rows = append(rows, *found[dut])
			}
		}
	}
	publishCore(b, rows)
}

var coreOutput = regexp.MustCompile(`min ([\d.]+) p10 [\d.]+ med ([\d.]+).*bad 0\b`)

// coreRun has a program measure once.
func coreRun(b *testing.B, program string, size int, packed bool) (min, median float64) {
	b.Helper()
	args := []string{"-s", fmt.Sprint(size), "-b", fmt.Sprint(coreSize), "-r", "200", "-n", "100"}
	if packed {
		args = append(args, "-p")
	}
	out, err := exec.Command(program, args...).Output()
	m := coreOutput.FindSubmatch(out)
	if err != nil || m == nil {
		b.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
	min, _ = strconv.ParseFloat(string(m[1]), 64)
	median, _ = strconv.ParseFloat(string(m[2]), 64)
	return min, median
}

// publishCore prints a table, with ratios to the peer if there is one, and writes JSON.
func publishCore(b *testing.B, rows []coreRow) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nwho\tring\tbytes\tns a frame, min\tmedian\tof the peer\tof the bound\t")
	for _, r := range rows {
		ratio := func(dut string) string {
			i := slices.IndexFunc(rows, func(o coreRow) bool { return o.DUT == dut && o.Ring == r.Ring && o.Size == r.Size })
			if i < 0 {
				return "-"
			}
			return fmt.Sprintf("%.2f", r.Min/rows[i].Min)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.1f\t%.1f\t%s\t%s\t\n", r.DUT, r.Ring, r.Size, r.Min, r.Median, ratio("peer"), ratio("bound"))
	}
	w.Flush()
	if *coreJSON == "" {
		return
	}
	out, err := json.MarshalIndent(rows, "", "  ")
	if err == nil {
		err = os.WriteFile(*coreJSON, append(out, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// A burst of plain frames is copied as such, comes through whole, and allocates nothing.
func TestCoreRig(t *testing.T) {
	for name, rig := range map[string]struct {
		pairs int
		join  func([]Port) group
	}{"pair": {1, pairOf}, "switch": {1, switchOf}, "steered": {2, steeredOf}, "steered to 4": {4, steeredOf}} {
		for _, packed := range []bool{false, true} {
			c := newCoreRig(t, packed, 64, rig.pairs, rig.join)
			c.turn(t)
			if n := testing.AllocsPerRun(100, func() {
				c.tx.offer(coreBurst)
				c.group.step()
				c.take()
			}); n != 0 {
				t.Errorf("%s, packed %v: %v allocations a burst", name, packed, n)
			}
		}
	}
}
