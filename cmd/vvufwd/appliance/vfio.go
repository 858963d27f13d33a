package appliance

import (
	"errors"
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

// ErrVFIO says that the kernel of a machine, or its initramfs, has not all of VFIO, so
// that no device can be used.
var ErrVFIO = errors.New("VFIO is not usable")

// setupVFIO loads what VFIO needs and makes sure that it is there. What counts is
// the result: a module that cannot be loaded is of no interest when the kernel has
// the same thing built in.
func (m *machine) setupVFIO(allowUnsafeInterrupts bool) error {
	loadErr := m.loadModules("vfio", "vfio_iommu_type1", "vfio-pci")
	for _, path := range []string{vfioContainer, vfioPCI} {
		if err := m.waitFor(path, loadErr == nil); err != nil {
			return fmt.Errorf("%w, there is no /%s: %w", ErrVFIO, path, oneLine(loadErr, err))
		}
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

// waitFor makes sure that a path exists, and waits for it if it can be hoped for.
func (m *machine) waitFor(path string, hope bool) error {
	for waited := time.Duration(0); ; waited += devicePoll {
		_, err := os.Stat(m.path(path))
		switch {
		case err == nil:
			return nil
		case !hope:
			return err
		case waited >= deviceTimeout:
			return fmt.Errorf("%w after %v, see dmesg for the reason", err, deviceTimeout)
		}
		m.sleep(devicePoll)
	}
}
