package initramfs

import (
	"vvufwd/cmd/vvudemo/kmod"
)

// driverModules are what vvufwd loads when it is PID 1. The NIC's own driver is left out on purpose: vvufwd is the driver.
var driverModules = []string{"vfio", "vfio_iommu_type1", "vfio_pci"}

// Driver describes the driver VM's image.
type Driver struct {
	// Init is the path of the vvufwd binary. It must be static and built for the virtual machine's processor.
	Init string
	// Modules is the kernel's module directory.
	Modules *kmod.Tree
}

// Save writes the image to the file at path and returns its size in bytes.
func (d Driver) Save(path string) (int64, error) {
	a := newArchive()
	for _, mountPoint := range []string{"dev", "proc", "sys", "run", "tmp"} {
		a.dir(mountPoint)
	}
	if err := a.copy("init", 0o755, d.Init); err != nil {
		return 0, err
	}
	if err := a.addModules(d.Modules, nil, driverModules...); err != nil {
		return 0, err
	}
	return a.save(path)
}
