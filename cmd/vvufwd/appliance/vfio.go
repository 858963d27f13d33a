package appliance

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	// vfioContainer is there once the vfio module is.
	vfioContainer = "dev/vfio/vfio"
	// vfioPCI is there once functions can be bound to vfio-pci.
	vfioPCI = "sys/bus/pci/drivers/vfio-pci"
	// unsafeInterrupts lets devices be used without interrupt remapping.
	unsafeInterrupts = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"

	// deviceTimeout is how long we wait for a device node. The kernel makes it before
	// it is done with loading the module, so it is there at once or something is wrong.
	deviceTimeout = 2 * time.Second
	devicePoll    = 10 * time.Millisecond
)

// setupVFIO loads what VFIO needs and makes sure that it is there. What counts is
// the result: a module that cannot be loaded is of no interest when the kernel has
// the same thing built in.
func (m *machine) setupVFIO(allowUnsafeInterrupts bool) error {
	loadErr := m.loadModules("vfio", "vfio_iommu_type1", "vfio-pci")
	if err := m.waitFor(vfioContainer); err != nil {
		return fmt.Errorf("the kernel has no VFIO: %w", oneLine(err, loadErr))
	}
	if err := m.waitFor(vfioPCI); err != nil {
		return fmt.Errorf("the kernel has no driver vfio-pci: %w", oneLine(err, loadErr))
	}
	if loadErr != nil {
		level := zap.DebugLevel
		if !m.hasModule("vfio_iommu_type1") {
			level = zap.WarnLevel // something else may do for it, and may not
		}
		m.log.Log(level, "not all VFIO modules were loaded", zap.Error(loadErr))
	}
	if !allowUnsafeInterrupts {
		return nil
	}
	if err := m.writeSetting(m.path(unsafeInterrupts), "Y"); err != nil {
		return fmt.Errorf("allow unsafe interrupts: %w; only the kernel module vfio_iommu_type1 has that switch", err)
	}
	m.log.Warn("unsafe interrupts are allowed: a device can inject any interrupt into this machine")
	return nil
}

// waitFor waits until a path exists.
func (m *machine) waitFor(path string) error {
	for waited := time.Duration(0); ; waited += devicePoll {
		_, err := os.Stat(m.path(path))
		if err == nil {
			return nil
		}
		if waited >= deviceTimeout {
			return fmt.Errorf("waited %v: %w", deviceTimeout, err)
		}
		m.sleep(devicePoll)
	}
}
