package driver

import (
	"testing"

	"vvufwd/netfwd/nic/nictest"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
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
						vringtest.Fill(b, from.devRx, n, func(buffer []byte) int { return copy(buffer, raw) })
					},
					Sent: func(n int) { vringtest.Drain(b, to.devTx, n) },
				}
			})
		})
	}
}
