package shadow_test

import (
	"fmt"
	"testing"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// Frames pass both ways, whatever rings each side has, with vvufwd's own driver in the driver VM.
func TestTraffic(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, guest := range []virtio.Features{vvutest.AllFeatures, vvutest.AllFeatures | virtio.RingPacked, virtio.Version1} {
			t.Run(fmt.Sprintf("packed %v/%v", packed, guest), func(t *testing.T) {
				r := newRig(t, rigConfig{packed: packed})
				d := r.drive()
				app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU, Features: guest})
				r.served(d)
				for k := range 20 {
					exchange(t, app, d, k)
				}
			})
		}
	}
}
