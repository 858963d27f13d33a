package appliance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestPowerOff has a machine on which neither switching off nor restarting works.
func TestPowerOff(t *testing.T) {
	var steps []string
	step := func(name string) func() { return func() { steps = append(steps, name) } }
	power{
		killAll:  step("kill all"),
		sync:     step("sync"),
		readOnly: step("read only"),
		drain:    step("drain"),
		reboot: func(command int) error {
			steps = append(steps, fmt.Sprintf("reboot %#x", command))
			return unix.EPERM
		},
		forever: step("forever"),
		printf: func(format string, args ...any) {
			steps = append(steps, strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
		},
	}.off(3)
	want := []string{
		"kill all", "sync", "read only",
		"vvufwd: exit code 3", "drain", "reboot 0x4321fedc",
		"vvufwd: power off: operation not permitted; restarting", "drain", "reboot 0x1234567",
		"vvufwd: restart: operation not permitted; the machine can be switched off now", "forever",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
