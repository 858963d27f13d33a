package netdevtest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"vvufwd/netfwd/nic/nictest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// Measure reports what a frame costs that is received from one interface of a pair, and sent through the other one, from
// which it gets back to the first: on one core, with what the kernel does for it. It is the least and the median of many
// short runs.
func Measure(b *testing.B, open func(b testing.TB) *Pair) {
	for _, size := range nictest.Sizes {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			Namespace(b)
			p := open(b)
			p.Run(b)
			to, from := p.A.Ports()[0], p.B.Ports()[0]
			source := NewSource(b)
			for i := range virtionet.MaxBurst {
				source.Add(b, virtionet.Header{}, circling(size, i))
			}
			source.Send(b, to)
			costs := make([]float64, 1000)
			var burst virtionet.Burst
			for i := range costs {
				const frames = 16 * virtionet.MaxBurst
				start := time.Now()
				for moved := 0; moved < frames; {
					if from.Receive(&burst); burst.Len() == 0 && time.Since(start) > patience {
						b.Fatalf("no frame comes any more: %+v, %+v", to.Counters(), from.Counters())
					}
					for sent := 0; sent < burst.Len(); {
						sent += to.Transmit(&burst, sent, burst.Len())
						to.Notify()
					}
					from.Release(&burst, 0, burst.Len())
					moved += burst.Len()
				}
				costs[i] = float64(time.Since(start).Nanoseconds()) / frames
			}
			slices.Sort(costs)
			b.ReportMetric(costs[0], "ns/frame-min")
			b.ReportMetric(costs[len(costs)/2], "ns/frame-median")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// circling is a frame for no one in particular, which a bridge that looks at IP headers lets pass.
func circling(size, i int) []byte {
	frame := nettest.Payload(size, i)
	copy(frame, []byte{0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x00,
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(frame[16:], uint16(size-14))
	binary.BigEndian.PutUint16(frame[24:], ^packettest.Sum(frame[14:34]))
	return frame
}
