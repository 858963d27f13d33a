package driver

import (
	"testing"

	"vvufwd/netfwd/nic/nictest"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
)

// BenchmarkNICCore is what a frame costs that comes from a virtio-net device and goes to another one.
func BenchmarkNICCore(b *testing.B) {
	for name, packed := range map[string]bool{"split": false, "packed": true} {
		b.Run(name, func(b *testing.B) {
			packedRings = packed
			defer func() { packedRings = false }()
			nictest.Measure(b, func(b *testing.B, size int) *nictest.Rig {
				from, to := newNICRig(b, rigFeatures, 256, 0), newNICRig(b, rigFeatures, 256, 0)
				raw := withHeader(1, nettest.Payload(size, 1))
				return &nictest.Rig{
					From: from.Port, To: to.Port,
					Arrive: func(n int) {
						from.devRx.ResetViews()
						from.devRx.Available()
						for range n {
							var c vring.Chain
							if !from.devRx.Pop(&c) {
								b.Fatal("no room for a frame that arrives")
							}
							copy(c.Write[0], raw)
							from.devRx.Push(c.Head, uint32(len(raw)))
						}
						from.devRx.Publish()
					},
					Sent: func(n int) {
						to.devTx.ResetViews()
						to.devTx.Available()
						for range n {
							var c vring.Chain
							if !to.devTx.Pop(&c) {
								b.Fatal("frames were not sent")
							}
							to.devTx.Push(c.Head, 0)
						}
						to.devTx.Publish()
					},
				}
			})
		})
	}
}
