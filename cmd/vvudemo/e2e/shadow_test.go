package e2e

import (
	"strings"
	"testing"

	"vvufwd/cmd/vvudemo/show"
)

// TestShadow is the demo with vvudev --shadow: the same driver VM with the same vvufwd, which sees frames and nothing of the app VM's
// memory. The app VM is killed under load, and started again with a device that leaves nothing to anyone; the driver VM is killed and booted
// again under it.
func TestShadow(t *testing.T) {
	t.Parallel()
	cfg := show.Config{Shadow: true, Transfer: 8 << 20, Restarts: 1, Again: []show.AppSetup{{Alone: true}}}
	report := run(t, cfg)
	for _, name := range []string{"images", "vvudev", "driver VM", "app VM", "offloads", "lease", "ping", "download", "upload", "shadow", "restarts", "counters", "again", "driver VM restarts", "power off", "capture"} {
		if step := report.Step(name); step == nil || !step.OK {
			t.Errorf("step %q: %+v", name, step)
		}
	}
	if step := report.Step("shadow"); step != nil && !strings.Contains(step.Figure, "64.00 MiB of a shadow region, and nothing of the app VM's 256.00 MiB") {
		t.Errorf("who has mapped what: %s", step.Figure)
	}
	checkCounters(t, report)
	checkOffloads(t, report)
}
