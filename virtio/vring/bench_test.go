package vring_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// The cost of a ring by itself, in nanoseconds per descriptor and per buffer, in
// bursts of 32 with their notification decisions. Both sides run on one
// processor: what a cache line costs on its way to another is not in it.

func BenchmarkDevice(b *testing.B) { benchmark(b, true, false) }
func BenchmarkDriver(b *testing.B) { benchmark(b, false, true) }
func BenchmarkBoth(b *testing.B)   { benchmark(b, true, true) }

// benchmark measures the device side (Available, Pop, Push, Publish, NeedSignal),
// the driver side (Add, Publish, NeedKick, Completed, Take), or both.
func benchmark(b *testing.B, device, driver bool) {
	for _, packed := range []bool{false, true} {
		benchmarkFormat(b, packed, device, driver)
	}
}

func benchmarkFormat(b *testing.B, packed, device, driver bool) {
	for _, s := range shapes {
		b.Run(map[bool]string{false: "split", true: "packed"}[packed]+" "+s.name, func(b *testing.B) {
			r := newRig(b, s, vringtest.Config{Packed: packed, EventIdx: true, OffHeap: true})
			b.ReportAllocs()
			var spent time.Duration
			timed := func(count bool, step func() bool) {
				start := time.Now()
				if !step() {
					b.Fatalf("faults: driver side %v, device side %v", r.p.Driver.Err(), r.p.Device.Err())
				}
				if count {
					spent += time.Since(start)
				}
			}
			buffers := 0
			for b.Loop() {
				timed(driver, r.offer)
				timed(device, r.serve)
				timed(driver, r.take)
				buffers += r.burst
			}
			descriptors := float64(buffers * (s.read + s.write))
			b.ReportMetric(float64(spent.Nanoseconds())/descriptors, "ns/desc")
			b.ReportMetric(float64(spent.Nanoseconds())/float64(buffers), "ns/buffer")
		})
	}
}

// BenchmarkRegions is what BenchmarkDevice is for one part, in nanoseconds per buffer, with
// buffers anywhere in as many regions of the guest's memory.
func BenchmarkRegions(b *testing.B) {
	const burst, room = 32, 2048
	for _, n := range []int{1, 2, 8, 509} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			const each = 4
			p := vringtest.NewPair(b, vringtest.Config{Regions: n, HeapBytes: n * each * room, OffHeap: true})
			rnd := rand.New(rand.NewPCG(1, 2))
			parts := make([][]vring.Part, 4096)
			for i := range parts {
				parts[i] = []vring.Part{vringtest.Part(p.HeapAt(rnd.IntN(n*each)*room), room)}
			}
			chains := make([]vring.Chain, burst)
			var spent time.Duration
			next, buffers := 0, 0
			for b.Loop() {
				for range burst {
					p.Driver.Add(parts[next%len(parts)], nil)
					next++
				}
				p.Driver.Publish()
				start := time.Now()
				p.Device.Available()
				p.Device.ResetViews()
				if k := p.Device.PopBurst(chains); k != burst {
					b.Fatalf("%d chains (%v)", k, p.Device.Err())
				}
				for i := range chains {
					p.Device.Push(chains[i].Head, 0)
				}
				p.Device.Publish()
				spent += time.Since(start)
				var used vring.Used
				p.Driver.Completed()
				for p.Driver.Take(&used) {
				}
				buffers += burst
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(buffers), "ns/buffer")
		})
	}
}
