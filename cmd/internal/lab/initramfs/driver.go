package initramfs

import (
	_ "embed"
	"errors"

	"vvufwd/cmd/internal/lab/kmod"
)

// driverModules are what vvufwd loads when it is PID 1 by itself. The NIC's own driver is left out on purpose: vvufwd is the driver.
var driverModules = []string{"vfio", type1, "vfio_pci"}

// type1 is the older way from VFIO to an IOMMU.
const type1 = "vfio_iommu_type1"

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
	// Other says that Init is something else, a script or a static program: then no modules come along but MoreModules.
	Other bool
	// Modules is the kernel's module directory. Nil means that all that is needed is built into the kernel.
	Modules *kmod.Tree
	// MoreModules are more kernel modules, which vvufwd is told to load.
	MoreModules []string
	// Firmware is a directory such as /lib/firmware, of which the image gets what MoreModules, and those they depend on, name; empty: none.
	Firmware string
	// Files are more files: host files by their paths in the image. They keep their permissions.
	Files map[string]string
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
	if d.Modules != nil {
		if err := a.addModules(d.Modules, d.ModuleNames()...); err != nil {
			return 0, err
		}
		if err := a.addFirmware(d.Modules, d.Firmware, d.MoreModules...); err != nil {
			return 0, err
		}
	}
	if err := a.addFiles(d.Files); err != nil {
		return 0, err
	}
	return a.save(path)
}

// ModuleNames are the kernel modules that the image has, without those that they depend on.
func (d Driver) ModuleNames() []string {
	if d.Other {
		return d.MoreModules
	}
	var names []string
	if d.VF {
		names = append(names, "igb")
	}
	for _, name := range driverModules {
		if name == type1 && !d.Modules.Knows(type1) && d.Modules.Knows("iommufd") {
			continue // that does for it, and comes with vfio
		}
		names = append(names, name)
	}
	names = append(names, d.MoreModules...)
	for _, name := range optionalModules {
		if d.Modules.Has(name) {
			names = append(names, name)
		}
	}
	return names
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
