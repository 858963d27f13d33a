package e2e

import (
	"testing"

	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/show"
)

// TestIOMMUs boots both machines with the driver VM's devices, a virtio-net NIC among them, behind a virtio IOMMU, and behind none, as
// in the demo of 2021, and sends traffic both ways, of an app VM that leaves nothing to its device. Other NICs: TestIntelNICs.
func TestIOMMUs(t *testing.T) {
	t.Parallel()
	for _, h := range matrix.HardwarePairs(matrix.IOMMUs) {
		t.Run(h.IOMMU.String(), func(t *testing.T) {
			t.Parallel()
			cfg := shows(h)
			cfg.Transfer = 8 << 20
			r := run(t, cfg)
			for _, name := range []string{"lease", "ping", "download", "upload", "counters", "power off", "capture"} {
				if step := r.Step(name); step == nil || !step.OK {
					t.Errorf("step %q: %+v", name, step)
				}
			}
			if r.Pings == nil || r.Pings.Sent != show.PingCount || r.Pings.Received != show.PingCount {
				t.Errorf("pings = %+v, want %d sent and received", r.Pings, show.PingCount)
			}
			checkCounters(t, r)
			for _, p := range r.Ports {
				if p.Dropped() != 0 || p.PlainPercent() < mostlyPlain {
					t.Errorf("%s dropped %d frames, and %d of %d received ones were plain", p.Name, p.Dropped(), p.Plain, p.RxPackets)
				}
			}
		})
	}
}
