package initramfs

import (
	_ "embed"
	"errors"
	"slices"

	"vvufwd/cmd/internal/lab/kmod"
)

// driverModules are what vvufwd loads when it is PID 1 by itself. The NIC's own driver is left out on purpose: vvufwd is the driver.
var driverModules = []string{"vfio", "vfio_iommu_type1", "vfio_pci"}

// optionalModules are loaded too where the kernel has them: drivers of IOMMUs.
var optionalModules = []string{"virtio_iommu"}

//go:embed driver-shell.sh
var driverShell []byte

//go:embed driver-vf.sh
var driverVF []byte

// Driver describes the driver VM's image.
type Driver struct {
	// Init is the path of the vvufwd binary. It must be static and built for the virtual machine's processor.
	Init string
	// Modules is the kernel's module directory.
	Modules *kmod.Tree
	// MoreModules are more kernel modules, which vvufwd is told to load.
	MoreModules []string
	// Busybox, if it is not empty, is the path of a static busybox: then /init is a shell that obeys its console, and vvufwd a
	// command, /vvufwd.
	Busybox string
	// VF makes the kernel's igb drive the NIC and make a virtual function of it, before vvufwd begins. It needs Busybox.
	VF bool
}

// Save writes the image to the file at path and returns its size in bytes.
func (d Driver) Save(path string) (int64, error) {
	a := newArchive()
	for _, mountPoint := range []string{"dev", "proc", "sys", "run", "tmp"} {
		a.dir(mountPoint)
	}
	if err := d.addInit(a); err != nil {
		return 0, err
	}
	names := slices.Concat(driverModules, d.MoreModules)
	if d.VF {
		names = append([]string{"igb"}, names...)
	}
	for _, name := range optionalModules {
		if d.Modules.Has(name) {
			names = append(names, name)
		}
	}
	if err := a.addModules(d.Modules, nil, names...); err != nil {
		return 0, err
	}
	return a.save(path)
}

func (d Driver) addInit(a *archive) error {
	if d.Busybox == "" {
		return a.copy("init", 0o755, d.Init)
	}
	a.dir("bin")
	init := driverShell
	if d.VF {
		init = driverVF
	}
	a.file("init", 0o755, init)
	return errors.Join(a.copy("vvufwd", 0o755, d.Init), a.copy("bin/busybox", 0o755, d.Busybox))
}
