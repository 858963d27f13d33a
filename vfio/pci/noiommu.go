package pci

import (
	"errors"
	"io/fs"
	"os"
)

// RemedyNoIOMMU is the advice for a device without an IOMMU group.
const RemedyNoIOMMU = "give the machine an IOMMU (QEMU: -machine q35,kernel-irqchip=split " +
	"-device intel-iommu,intremap=on,caching-mode=on) and boot its kernel with intel_iommu=on"

// RemedyNoIOMMUMode is the advice where the kernel has no mode for devices without an IOMMU.
const RemedyNoIOMMUMode = "boot a kernel with CONFIG_VFIO_NOIOMMU=y, which those of Debian do not have, or " + RemedyNoIOMMU

// NoIOMMUSwitch is where that mode is turned on, below /sys.
const NoIOMMUSwitch = "module/vfio/parameters/enable_unsafe_noiommu_mode"

// CheckNoIOMMU makes sure that a device without an IOMMU can be bound to vfio-pci.
func (s Sysfs) CheckNoIOMMU(info Info) error {
	if info.NoIOMMU {
		return nil
	}
	e := &DeviceError{Device: info.Address.String(), Problem: "is in no IOMMU group, and the kernel lends no other: its no-IOMMU mode is off"}
	mode, err := readAttribute(s.path(NoIOMMUSwitch))
	_, loaded := os.Stat(s.path("module/vfio"))
	switch {
	case err == nil && mode == "Y":
		return nil
	case err == nil:
		e.Remedy = "as root, echo Y > /sys/" + NoIOMMUSwitch
	case !errors.Is(err, fs.ErrNotExist):
		e.Err = err
	case loaded != nil:
		e.Problem, e.Remedy = "is in no IOMMU group, and VFIO is not loaded", "modprobe vfio-pci"
	default:
		e.Problem, e.Remedy = "is in no IOMMU group, and the kernel has no no-IOMMU mode", RemedyNoIOMMUMode
	}
	return e
}
