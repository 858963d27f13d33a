package appliance

import "go.uber.org/zap"

// Config is what Setup prepares beyond file systems and limits.
type Config struct {
	// HugePages is how many huge pages of 2 MiB to reserve; 0 leaves the kernel's
	// pool as it is.
	HugePages int
	// VFIO asks for the modules vfio, vfio_iommu_type1 and vfio-pci, and for virtio_iommu,
	// which is the driver of an IOMMU, if there is one.
	VFIO bool
	// AllowUnsafeInterrupts switches the protection by interrupt remapping off, for
	// machines whose IOMMU has none. A device can then inject any interrupt.
	AllowUnsafeInterrupts bool
	// NoIOMMU turns the kernel's mode for functions without an IOMMU on. Such a device can
	// write anywhere in the machine's memory.
	NoIOMMU bool
}

// Setup makes a bare machine usable: it mounts /proc, /sys, /dev and
// /dev/hugepages, raises resource limits, reserves huge pages and loads kernel
// modules from /lib/modules. What is done already is left alone, so it may be called
// again. It is for the process of which Supervised says that it is supervised, needs
// root, and takes two seconds at most when a device does not show up.
//
// Parameters for modules are taken from the kernel command line, as modprobe does:
// vfio_pci.disable_idle_d3=1.
//
// An error means that there are no devices to work with; it is an ErrVFIO if kernel or
// initramfs lack VFIO. Everything that only costs speed is a warning in the log.
func Setup(cfg Config, log *zap.Logger) error {
	return thisMachine(log).setup(cfg)
}

func (m *machine) setup(cfg Config) error {
	if err := m.mountAll(); err != nil {
		return err
	}
	m.raiseLimits()
	// Before anything else takes memory: huge pages need it in one piece.
	m.reserveHugePages(cfg.HugePages)
	if !cfg.VFIO {
		return nil
	}
	return m.setupVFIO(cfg)
}
