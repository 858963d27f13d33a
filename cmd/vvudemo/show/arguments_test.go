package show

import (
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

// What the demo has vvufwd do is right, also with several app VMs and a capture, and what it is told besides is checked before
// anything is started.
func TestArgumentsAreChecked(t *testing.T) {
	found := &tools.Tools{Vvufwd: filepath.Join(clitest.Static(t, "vvufwd"), "vvufwd")}
	for name, c := range map[string]Config{
		"one":     {ForwarderArgs: strings.Fields("--idle-after 1ms")},
		"several": {AppVMs: 3, Isolate: true},
		"capture": {Capture: true, IOMMU: machine.None},
		"direct":  {Direct: true, ForwarderArgs: []string{"--nick"}},
	} {
		c.Tools, c.NIC = found, machine.VirtioNet
		if err := CheckArguments(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := CheckArguments(t.Context(), Config{Tools: found, NIC: machine.VirtioNet, ForwarderArgs: []string{"--nick"}})
	if want := "--vvufwd-args: there is no flag --nick; see vvufwd --help"; !cli.IsUsage(err) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
