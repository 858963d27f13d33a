package e2e

import (
	"flag"
	"fmt"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/capture"
	"vvufwd/cmd/vvudemo/show"
)

// allNICs is for "make matrix".
var allNICs = flag.Bool("all-nics", false, "try all kinds of NICs behind all kinds of IOMMUs, not each kind once")

// combination is a NIC and what confines it.
type combination struct {
	nic   machine.NIC
	iommu machine.IOMMU
}

// combinations are those that TestIntelNICs tries. A virtual function needs Debian's full kernel in the driver VM, and that has
// the intel IOMMU's driver.
func combinations() []combination {
	if !*allNICs {
		return []combination{{machine.E1000e, machine.Virtio}, {machine.IGB, machine.None}, {machine.IGBVF, machine.Intel}}
	}
	list := []combination{{machine.IGBVF, machine.Intel}}
	for _, nic := range []machine.NIC{machine.E1000e, machine.IGB} {
		for _, iommu := range []machine.IOMMU{machine.Intel, machine.None, machine.Virtio} {
			list = append(list, combination{nic, iommu})
		}
	}
	return list
}

// TestIntelNICs boots both machines with each of Intel's NICs that vvufwd drives. Large segments of TCP leave the app VM uncut, and
// the NIC cuts them: there are more frames on the wire than vvufwd has sent. Checksums are left to the NIC in both directions.
func TestIntelNICs(t *testing.T) {
	t.Parallel()
	for _, c := range combinations() {
		t.Run(fmt.Sprintf("%s, IOMMU %v", c.nic, c.iommu), func(t *testing.T) {
			t.Parallel()
			r := run(t, show.Config{NIC: c.nic, IOMMU: c.iommu})
			for _, name := range []string{"lease", "ping", "download", "upload", "counters", "power off", "capture"} {
				if step := r.Step(name); step == nil || !step.OK {
					t.Errorf("step %q: %+v", name, step)
				}
			}
			vvu, nic := r.Ports[0], r.Ports[1]
			for _, p := range r.Ports[1:] {
				if o := p.Offloads; o.Checksummed+o.Segmented+o.Pieces != 0 || p.Dropped() != 0 {
					t.Errorf("%s: dropped %d, offloads done by vvufwd: %v", p.Name, p.Dropped(), o)
				}
			}
			if vvu.Dropped() != 0 || vvu.Offloads.Checksummed+vvu.Offloads.Segmented != 0 {
				t.Errorf("%s: dropped %d, offloads done by vvufwd: %v", vvu.Name, vvu.Dropped(), vvu.Offloads)
			}
			const longest = 1514
			if nic.Offloads.Passed == 0 || nic.TxBytes < 2*longest*nic.TxPackets {
				t.Errorf("%d bytes went to the NIC in %d frames, %d with offloads: no large segments", nic.TxBytes, nic.TxPackets, nic.Offloads.Passed)
			}
			if c.nic != machine.IGBVF && (nic.SegmentedByNIC() == 0 || nic.SegmentedByNIC() > nic.Offloads.Passed) {
				t.Errorf("the NIC counted %d large segments, of %d frames with offloads", nic.SegmentedByNIC(), nic.Offloads.Passed)
			}
			if wire := uint64(r.Capture.Kind(capture.TCP).FromApp.Frames); wire < 2*nic.TxPackets {
				t.Errorf("%d frames of TCP are on the wire, of %d that were sent: the NIC has not cut", wire, nic.TxPackets)
			}
		})
	}
}
