package machine

import (
	"errors"
	"fmt"
	"strings"
)

// IOMMU is what confines the driver VM's devices.
type IOMMU int

const (
	// Intel is QEMU's intel-iommu, with interrupt remapping.
	Intel IOMMU = iota
	// None: nothing does. The devices are told guest-physical addresses.
	None
	// Virtio is QEMU's virtio-iommu-pci, which remaps no interrupts. Its driver is a module of
	// its own, which the kernel must have.
	Virtio
)

// IOMMUs are all kinds.
var IOMMUs = []IOMMU{Intel, None, Virtio}

// iommuNames are what a person calls them, by their values.
var iommuNames = []string{"intel", "none", "virtio"}

func (i IOMMU) String() string { return iommuNames[i] }

// ParseIOMMU reads what a person calls it.
func ParseIOMMU(name string) (IOMMU, error) {
	for i, n := range iommuNames {
		if n == name {
			return IOMMU(i), nil
		}
	}
	return 0, errors.New("want " + strings.Join(iommuNames, ", "))
}

// iommuSlot is the virtio IOMMU's place.
const iommuSlot = 3

// device is the argument of -device, empty where there is none.
func (i IOMMU) device(vvu VVU) string {
	switch i {
	case Intel:
		if vvu == BuiltIn {
			// The fork's base is too old for its extended interrupt mode without KVM.
			return "intel-iommu,caching-mode=on,intremap=on,eim=off"
		}
		return "intel-iommu,caching-mode=on,intremap=on"
	case Virtio:
		return fmt.Sprintf("virtio-iommu-pci,addr=%x", iommuSlot)
	}
	return ""
}

// virtio are the properties that make a virtio device obey it.
func (i IOMMU) virtio() string {
	if i == None {
		return ""
	}
	return ",iommu_platform=on"
}

// kernelArgs are arguments of the kernel.
func (i IOMMU) kernelArgs() []string {
	if i == Intel {
		return []string{"intel_iommu=on"}
	}
	return nil
}

// InitArgs are arguments of vvufwd as /init, without which it refuses what it finds.
func (i IOMMU) InitArgs() []string {
	switch i {
	case None:
		return []string{"--noiommu"}
	case Virtio:
		return []string{"--allow-unsafe-interrupts"}
	}
	return nil
}
