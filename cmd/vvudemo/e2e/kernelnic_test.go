package e2e

import (
	"fmt"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/show"
)

// kernelNICs are demos with the NIC driven by the driver VM's kernel, whose driver vvufwd loads as /init: in CI one of each kind, for
// "make matrix" all. A virtio IOMMU comes with a newer kernel, to which XDP sockets can leave checksums: not those of all drivers.
func kernelNICs() (list []show.Config) {
	list = []show.Config{
		{NIC: machine.VirtioNet, NICPort: machine.Packet, Transfer: 8 << 20},
		{NIC: machine.VirtioNet, NICPort: machine.XDP, IOMMU: machine.Virtio, Transfer: 2 << 20},
	}
	if !*allNICs {
		return list
	}
	list = list[1:] // the other comes again
	for _, nic := range []machine.NIC{machine.VirtioNet, machine.E1000e, machine.IGB} {
		for _, port := range []machine.NICPort{machine.Packet, machine.XDP, machine.Interface} {
			list = append(list, show.Config{NIC: nic, NICPort: port})
		}
	}
	return list
}

// TestKernelNIC boots both machines with the NIC's interface as vvufwd's port, and sends traffic both ways. Nothing is lost, and
// nearly all frames are copied once.
func TestKernelNIC(t *testing.T) {
	t.Parallel()
	for _, cfg := range kernelNICs() {
		t.Run(fmt.Sprintf("%s, %s, %s", cfg.NIC, cfg.NICPort, cfg.IOMMU), func(t *testing.T) {
			t.Parallel()
			r := run(t, cfg)
			for _, name := range []string{"lease", "ping", "download", "upload", "counters", "power off", "capture"} {
				if step := r.Step(name); step == nil || !step.OK {
					t.Errorf("step %q: %+v", name, step)
				}
			}
			vvu, nic, err := r.Sides()
			if err != nil {
				t.Fatal(err)
			}
			cut := 100 * float64(nic.Offloads.Segmented) / float64(max(1, vvu.RxPackets)) // here, and so in general
			for _, p := range []struct {
				name    string
				dropped uint64
				plain   float64
			}{{vvu.Name, vvu.Dropped(), vvu.PlainPercent() + cut}, {nic.Name, nic.Dropped(), nic.PlainPercent()}} {
				if p.dropped != 0 || p.plain < mostlyPlain {
					t.Errorf("%s dropped %d frames, and %.1f %% of what it received were plain", p.name, p.dropped, p.plain)
				}
			}
			if want := string(cfg.NICPort) + ":eth0"; cfg.NICPort != machine.Interface && nic.Name != want {
				t.Errorf("the NIC's port is %s, want %s", nic.Name, want)
			}
			// The kernel cuts what the NIC does not.
			if o := nic.Offloads; strings.HasPrefix(nic.Name, "packet:") && (o.Passed == 0 || o.Segmented != 0 || o.Checksummed != 0) {
				t.Errorf("offloads on the way to the NIC: %v", o)
			}
		})
	}
}
