package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"vvufwd/vfio/pci"
)

const (
	// vfioContainer is there once the vfio module is.
	vfioContainer = "dev/vfio/vfio"
	// vfioPCI is there once functions can be bound to vfio-pci.
	vfioPCI = "sys/bus/pci/drivers/vfio-pci"
	// iommufd is there in place of vfioContainer, or besides, in newer kernels.
	iommufd = "dev/iommu"
	// noIOMMUSwitch lets functions without an IOMMU be bound to vfio-pci.
	noIOMMUSwitch = "sys/" + pci.NoIOMMUSwitch

	// deviceTimeout is how long we wait for a device node. The kernel makes it before
	// it is done with loading the module, so it is there at once or something is wrong.
	deviceTimeout = 2 * time.Second
	devicePoll    = 10 * time.Millisecond
)

// unsafeInterrupts let devices be used without interrupt remapping, each of those that come
// by way of its module.
var unsafeInterrupts = []string{
	"sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
	"sys/module/iommufd/parameters/allow_unsafe_interrupts",
}

// ErrVFIO says that the kernel of a machine, or its initramfs, has not all of VFIO, so
// that no device can be used.
var ErrVFIO = errors.New("VFIO is not usable")

// setupVFIO loads what VFIO needs and makes sure that it is there. What counts is
// the result: a module that cannot be loaded is of no interest when the kernel has
// the same thing built in.
func (m *machine) setupVFIO(cfg Config) error {
	// Functions behind an IOMMU wait for its driver; without it in the initramfs there is none.
	if err := m.loadModules("virtio_iommu"); err != nil {
		m.log.Debug("no driver of a virtio IOMMU", zap.Error(err))
	}
	loadErr := m.loadModules("vfio", "vfio_iommu_type1", "vfio-pci")
	container := vfioContainer
	if _, err := os.Stat(m.path(iommufd)); err == nil {
		container = iommufd
	}
	for _, path := range []string{container, vfioPCI} {
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
	if cfg.AllowUnsafeInterrupts {
		if err := m.allowUnsafeInterrupts(); err != nil {
			return err
		}
	}
	if cfg.NoIOMMU {
		return m.allowNoIOMMU()
	}
	return nil
}

// allowUnsafeInterrupts turns every switch for that on that there is.
func (m *machine) allowUnsafeInterrupts() error {
	done, failed := 0, error(nil)
	for _, path := range unsafeInterrupts {
		if err := m.writeSetting(m.path(path), "Y"); err == nil {
			done++
		} else {
			failed = oneLine(failed, err)
		}
	}
	if done == 0 {
		return fmt.Errorf("allow unsafe interrupts: %w; only the kernel modules vfio_iommu_type1 and iommufd have that switch", failed)
	}
	m.log.Warn("unsafe interrupts are allowed: a device can inject any interrupt into this machine")
	return nil
}

// allowNoIOMMU turns the kernel's no-IOMMU mode on.
func (m *machine) allowNoIOMMU() error {
	err := m.writeSetting(m.path(noIOMMUSwitch), "Y")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--noiommu: %w, the kernel has no no-IOMMU mode: %s", ErrVFIO, pci.RemedyNoIOMMUMode)
	}
	if err != nil {
		return fmt.Errorf("--noiommu: %w: turn the kernel's no-IOMMU mode on: %w", ErrVFIO, err)
	}
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
