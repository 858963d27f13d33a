package vring_test

import (
	"testing"
	"time"

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
