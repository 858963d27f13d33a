// Package nictest measures what a frame costs that comes from a NIC and goes to another one, on one
// core, with the NICs' side of the rings played in memory and not timed.
package nictest

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"vvufwd/netfwd"
	virtionet "vvufwd/virtio/net"
)

// Burst is how many frames come at a time.
const Burst = 32

// Sizes are those of the frames.
var Sizes = []int{64, 1518}

// Rig is two ports with what plays their NICs.
type Rig struct {
	From, To netfwd.Port
	Arrive   func(n int) // at From
	Sent     func(n int) // through To: all of them have to be there
}

// step moves a burst as a forwarder does.
func (r *Rig) step(b *virtionet.Burst) int {
	r.From.Receive(b)
	n := r.To.Transmit(b, 0, b.Len())
	r.From.Release(b, 0, n)
	r.From.Notify()
	r.To.Notify()
	return n
}

// Measure reports what a frame costs: the least and the median of many short runs.
func Measure(b *testing.B, rig func(b *testing.B, size int) *Rig) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, size := range Sizes {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			r := rig(b, size)
			const runs, bursts = 600, 100
			var burst virtionet.Burst
			var costs []float64
			for range runs {
				var spent time.Duration
				for range bursts {
					r.Arrive(Burst)
					at := time.Now()
					n := r.step(&burst)
					spent += time.Since(at)
					if n != Burst {
						b.Fatalf("%d frames moved of %d", n, Burst)
					}
					r.Sent(Burst)
				}
				costs = append(costs, float64(spent.Nanoseconds())/(bursts*Burst))
			}
			slices.Sort(costs)
			b.ReportMetric(costs[0], "ns/frame-min")
			b.ReportMetric(costs[runs/2], "ns/frame-median")
			b.ReportMetric(0, "ns/op")
		})
	}
}
