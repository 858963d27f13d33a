package matrix

import (
	"fmt"

	"vvufwd/cmd/internal/lab/machine"
)

// Hardware is one way to set a driver VM's NIC up, with what an app VM makes it do.
type Hardware struct {
	NIC   machine.NIC
	IOMMU machine.IOMMU
	// Many is several of the NIC's queue pairs with frames in both directions, for an app VM that has several; else one.
	Many bool
	// Offloads is that checksums and segmentation are left to the NIC, or done by vvufwd for one that cannot; else the app VM does
	// all of it.
	Offloads bool
}

// String is what a person calls it.
func (h Hardware) String() string {
	queues, offloads := "one queue", "no offloads"
	if h.Many {
		queues = "many queues"
	}
	if h.Offloads {
		offloads = "offloads"
	}
	return fmt.Sprintf("%s, IOMMU %v, %s, %s", h.NIC, h.IOMMU, queues, offloads)
}

// Possible reports whether the lab can set it up. A virtual function of an igb has one queue pair, and needs Debian's full kernel in
// the driver VM, which has no driver of a virtio IOMMU and no VFIO without one.
func (h Hardware) Possible() bool {
	return h.NIC != machine.IGBVF || h.IOMMU == machine.Intel && !h.Many
}

// Run is what shows some Hardware in CI.
type Run int

// The end-to-end tests that boot a driver VM, by what they show besides.
const (
	TwoMachines Run = iota // load, a generator, restarts
	IOMMUs                 // a virtio-net NIC in another place
	IntelNICs              // what a NIC does of the offloads
	Switch                 // several app VMs
	Isolated               // several app VMs that must not reach each other
	Rings                  // an app VM for each of Pairs
)

// HardwarePairs are the Hardware that a run of CI shows. Those of all runs have each pair of choices that goes together: a run has
// one place in the plan, so that the plan costs hardly more than the runs. A virtio-net NIC has several queue pairs with a TAP device
// behind it only; those are the Rings.
func HardwarePairs(r Run) []Hardware {
	switch r {
	case TwoMachines:
		return []Hardware{{machine.VirtioNet, machine.Intel, false, true}}
	case IOMMUs:
		return []Hardware{{machine.VirtioNet, machine.None, false, false}, {machine.VirtioNet, machine.Virtio, false, false}}
	case IntelNICs:
		return []Hardware{
			{machine.E1000e, machine.Virtio, true, true}, {machine.IGB, machine.None, true, true},
			{machine.E1000e, machine.None, true, false}, {machine.IGB, machine.Intel, true, false},
			{machine.IGBVF, machine.Intel, false, true}, {machine.IGBVF, machine.Intel, false, false},
		}
	case Switch:
		return []Hardware{{machine.E1000e, machine.Intel, false, true}}
	case Isolated:
		return []Hardware{{machine.IGB, machine.Virtio, false, true}}
	case Rings:
		var list []Hardware
		for _, c := range Pairs() {
			list = append(list, Hardware{machine.VirtioNet, machine.Intel, c.Wide && c.Many, c.Offloads})
		}
		return list
	}
	return nil
}

// AllHardware is all that is possible with Intel's NICs. What stands together shares NIC and IOMMU.
func AllHardware() (list []Hardware) {
	for _, nic := range []machine.NIC{machine.E1000e, machine.IGB, machine.IGBVF} {
		for _, iommu := range machine.IOMMUs {
			for i := range 4 {
				if h := (Hardware{nic, iommu, i&1 != 0, i&2 == 0}); h.Possible() {
					list = append(list, h)
				}
			}
		}
	}
	return list
}
