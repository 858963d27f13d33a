package e2e

import (
	"testing"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/show"
)

// TestIOMMUs boots both machines with the driver VM's devices, a virtio-net NIC among them, behind a virtio IOMMU, and behind none, as
// in the demo of 2021, and sends traffic both ways. Other NICs: TestIntelNICs.
func TestIOMMUs(t *testing.T) {
	t.Parallel()
	for _, iommu := range []machine.IOMMU{machine.None, machine.Virtio} {
		t.Run(iommu.String(), func(t *testing.T) {
			t.Parallel()
			r := run(t, show.Config{IOMMU: iommu})
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
				if p.Dropped() != 0 {
					t.Errorf("%s dropped %d frames", p.Name, p.Dropped())
				}
			}
		})
	}
}
