package initramfs

import (
	_ "embed"
	"slices"

	"vvufwd/cmd/internal/lab/kmod"
)

// appInit is the app VM's /init. Its console protocol is described in the script itself; package guest speaks the other side.
//
//go:embed app-init.sh
var appInit []byte

// leaseScript is what udhcpc runs when it gets or loses a lease.
//
//go:embed app-lease.sh
var leaseScript []byte

// appModules are what the app VM needs: an unmodified guest with a virtio-net device.
var appModules = []string{"virtio_pci", "virtio_net"}

// GeneratorModule is the kernel's packet generator, which the app VM needs for that command. A small kernel does without.
const GeneratorModule = "pktgen"

// App describes the app VM's image.
type App struct {
	// Busybox is the path of a static busybox.
	Busybox string
	// Modules is the kernel's module directory.
	Modules *kmod.Tree
	// MoreModules are names of modules that the image has besides those of a network device.
	MoreModules []string
	// Files are more programs and libraries: host files by their paths in the image. All of them are executable.
	Files map[string]string
}

// Save writes the image to the file at path and returns its size in bytes.
func (p App) Save(path string) (int64, error) {
	a := newArchive()
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "srv"} {
		a.dir(dir)
	}
	if err := a.copy("bin/busybox", 0o755, p.Busybox); err != nil {
		return 0, err
	}
	a.link("bin/sh", "busybox")
	a.file("init", 0o755, appInit)
	a.file("etc/lease.sh", 0o755, leaseScript)
	for name, from := range p.Files {
		if err := a.copy(name, 0o755, from); err != nil {
			return 0, err
		}
	}
	if err := a.addModules(p.Modules, slices.Concat(appModules, p.MoreModules)...); err != nil {
		return 0, err
	}
	return a.save(path)
}
