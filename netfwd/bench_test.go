package netfwd

import (
	"fmt"
	"net"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// track is one direction between two guests whose drivers the benchmark plays, on
// the same CPU: what a cache line costs on its way to another is not in it.
type track struct {
	ports   [2]Port
	group   group
	src     *vringtest.Pair // transmit ring of the sending guest
	dst     *vringtest.Pair // receive ring of the other
	frames  []vring.Part
	buffers []vring.Part
	used    vring.Used
}

const benchBurst = 32

// pairOf joins ports as pairs do.
func pairOf(ports []Port) group { return newPair(ports[0], ports[1]) }

// switchOf joins ports as a switch does, with static addresses.
func switchOf(ports []Port) group {
	cfg := SwitchConfig{MACAge: time.Minute, MACLimit: 256}
	for i, p := range ports {
		cfg.Ports = append(cfg.Ports, SwitchPort{End: End{Queues: []Port{p}}, Address: net.HardwareAddr(addressOf(station(i)))})
	}
	s, err := newSwitch(cfg)
	if err != nil {
		panic(err)
	}
	return s
}

func newTrack(tb testing.TB, frameBytes int, packed bool, join func([]Port) group) *track {
	cfg := vringtest.Config{Packed: packed, Size: 256, OffHeap: true}
	guest := func(name string) (*guest.Port, *guest.Queues) {
		g := guest.New(name, func(ring string, err error) { tb.Errorf("%s: %s ring: %v", name, ring, err) })
		return g, &guest.Queues{
			ToGuest: vringtest.NewPair(tb, cfg).Device, FromGuest: vringtest.NewPair(tb, cfg).Device,
			ToGuestEnabled: true, FromGuestEnabled: true, HeaderLen: virtionet.HeaderLen, Mergeable: true,
		}
	}
	a, aq := guest("a")
	b, bq := guest("b")
	l := &track{ports: [2]Port{a, b}, src: vringtest.NewPair(tb, cfg), dst: vringtest.NewPair(tb, cfg)}
	aq.FromGuest, bq.ToGuest = l.src.Device, l.dst.Device
	l.group = join(l.ports[:])
	done := make(chan struct{})
	for _, install := range []func(){func() { a.Install(aq) }, func() { b.Install(bq) }} {
		go func() { install(); done <- struct{}{} }()
	}
	for range 2 {
		for finished := false; !finished; {
			select {
			case <-done:
				finished = true
			default:
				l.group.step()
				l.group.housekeep(time.Now())
			}
		}
	}
	size := virtionet.HeaderLen + frameBytes
	for range benchBurst {
		addr, mem := l.src.Alloc(size)
		copy(mem[virtionet.HeaderLen:], frame(station(1), station(0), 0))
		l.frames = append(l.frames, vringtest.Part(addr, size))
		addr, _ = l.dst.Alloc(2048)
		l.buffers = append(l.buffers, vringtest.Part(addr, 2048))
	}
	return l
}

// offer plays the drivers: a burst of frames and of buffers.
func (l *track) offer() {
	for i := range benchBurst {
		l.src.Driver.Add(l.frames[i:i+1], nil)
		l.dst.Driver.Add(nil, l.buffers[i:i+1])
	}
	l.src.Driver.Publish()
	l.dst.Driver.Publish()
}

// take plays the drivers: what was done with.
func (l *track) take(tb testing.TB) {
	for _, d := range []*vring.Driver{l.src.Driver, l.dst.Driver} {
		if n := d.Completed(); n != benchBurst {
			tb.Fatalf("%d of %d came through", n, benchBurst)
		}
		for d.Take(&l.used) {
		}
	}
}

// BenchmarkForward is what a frame costs from one guest's ring to the other's, in
// bursts of 32, stage by stage, in nanoseconds per frame.
func BenchmarkForward(b *testing.B) {
	for i := range 6 {
		size, packed := []int{64, 256, 1518}[i%3], i >= 3
		b.Run(fmt.Sprintf("%s-%dB", map[bool]string{false: "split", true: "packed"}[packed], size), func(b *testing.B) {
			l := newTrack(b, size, packed, pairOf)
			src, dst := l.ports[0], l.ports[1]
			var burst virtionet.Burst
			var clock busyClock
			clock.start()
			names := []string{"rx", "tx", "release", "notify"}
			var spent [4]uint64
			bursts := 0
			for b.Loop() {
				l.offer()
				at := cycles()
				stage := func(i int) {
					now := cycles()
					spent[i] += now - at
					at = now
				}
				src.Receive(&burst)
				stage(0)
				n := dst.Transmit(&burst, 0, burst.Len())
				stage(1)
				src.Release(&burst, 0, n)
				stage(2)
				src.Notify()
				dst.Notify()
				stage(3)
				l.take(b)
				bursts++
			}
			clock.tick(false)
			total := 0.0
			for i, ticks := range spent {
				clock.busy = ticks
				ns := float64(clock.busyTime().Nanoseconds()) / float64(bursts*benchBurst)
				b.ReportMetric(ns, names[i]+"-ns/frame")
				total += ns
			}
			b.ReportMetric(total, "ns/frame")
		})
	}
}

// BenchmarkStep is what a frame costs in a pair and in a switch, all stages
// together.
func BenchmarkStep(b *testing.B) {
	for _, size := range []int{64, 1518} {
		for name, join := range map[string]func([]Port) group{"pair": pairOf, "switch": switchOf} {
			b.Run(fmt.Sprintf("%s-%dB", name, size), func(b *testing.B) {
				l := newTrack(b, size, false, join)
				var clock busyClock
				clock.start()
				spent := uint64(0)
				for b.Loop() {
					l.offer()
					at := cycles()
					l.group.step()
					spent += cycles() - at
					l.take(b)
				}
				clock.tick(false)
				clock.busy = spent
				b.ReportMetric(float64(clock.busyTime().Nanoseconds())/float64(b.N*benchBurst), "ns/frame")
			})
		}
	}
}

// A burst allocates nothing.
func TestForwardingDoesNotAllocate(t *testing.T) {
	for name, join := range map[string]func([]Port) group{"pair": pairOf, "switch": switchOf} {
		for _, packed := range []bool{false, true} {
			l := newTrack(t, 64, packed, join)
			if n := testing.AllocsPerRun(1000, func() { l.offer(); l.group.step(); l.take(t) }); n != 0 {
				t.Errorf("%s, packed %v: %v allocations per burst", name, packed, n)
			}
		}
	}
}
