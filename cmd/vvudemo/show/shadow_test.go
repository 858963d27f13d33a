package show

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

// A driver VM cannot tell whether there is a shadow: its arguments, and so its program, are the same.
func TestDriverVMIsTheSameWithAShadow(t *testing.T) {
	var all [2][]string
	var images [2]any
	for i, shadow := range []bool{false, true} {
		d := &demo{Config: Config{Shadow: shadow, Tools: &tools.Tools{Vvufwd: "vvufwd"}, NIC: machine.VirtioNet}, apps: []*appVM{{}, {number: 1}}}
		all[i], images[i] = d.initArgs(len(d.apps)), d.driverInitramfs()
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("the arguments differ: %s", diff)
	}
	if diff := cmp.Diff(images[0], images[1]); diff != "" {
		t.Errorf("the RAM disks differ: %s", diff)
	}
}
