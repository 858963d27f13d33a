package tools

import (
	"context"

	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
)

// Options says what a person gave by flag and what is needed.
type Options struct {
	QEMU    string // --qemu: the driver VM's, and the app VM's unless AppQEMU is given
	AppQEMU string // --app-qemu
	Kernel  string // --kernel
	Modules string // --modules
	Busybox string // --busybox
	Bin     string // --bin: directory of vvufwd and vvudev; empty means that they are built from the source tree

	// BuildDir receives what is unpacked and built.
	BuildDir string
	// SourceDir is the project's source tree, or empty when the demo runs outside it.
	SourceDir string
	// NeedVfioUser asks for a driver VM's QEMU that has the vfio-user-pci device.
	NeedVfioUser bool
	// NeedPrograms asks for the project's own programs too, and a QEMU that can share an app VM's memory with them.
	NeedPrograms bool
	// NeedMatrix asks for what the matrix needs on top: a second kernel, unless Kernel is given, and ethtool.
	NeedMatrix bool
	// NeedNewest asks for a third kernel, the newest of Debian's backports, unless Kernel is given.
	NeedNewest bool
	// NeedNewestHardware asks for that one with drivers for hardware.
	NeedNewestHardware bool
	// NeedHardware asks for a kernel that has drivers for hardware.
	NeedHardware bool
	// NeedNewer asks for the second kernel without the rest of what the matrix needs.
	NeedNewer bool
	// NeedBare asks for modules of VFIO with the mode for devices without an IOMMU, unless Kernel is given.
	NeedBare bool
	// Progress is told what takes its time.
	Progress func(text string)
}

// Tools is everything the demo runs.
type Tools struct {
	QEMU    machine.QEMU // of the driver VM
	AppQEMU machine.QEMU
	Kernel  string
	Modules *kmod.Tree
	Busybox string
	// NewerKernel and NewerModules are a second kernel, of another series. Only with Options.NeedMatrix, and not when the first
	// was chosen by flag.
	NewerKernel  string
	NewerModules *kmod.Tree
	// BareModules are those of Kernel, but VFIO's are built with the mode for devices without an IOMMU. Only with Options.NeedBare. Of
	// a kernel that was chosen by flag they are Modules.
	BareModules *kmod.Tree
	// NewestKernel and NewestModules are a third, the newest in Debian's backports. Only with Options.NeedNewest.
	NewestKernel  string
	NewestModules *kmod.Tree
	// NewestFullKernel and NewestFullModules are that one with drivers for hardware. Only with Options.NeedNewestHardware.
	NewestFullKernel  string
	NewestFullModules *kmod.Tree
	// FullKernel and FullModules are those of the first kernel's series that have drivers for hardware. Only with Options.NeedHardware.
	FullKernel  string
	FullModules *kmod.Tree
	// Ethtool is that program with all that it needs to run: host files by their paths in a virtual machine. Only with NeedMatrix.
	Ethtool map[string]string
	Vvufwd  string // only with NeedPrograms
	Vvudev  string // only with NeedPrograms
	Vvugen  string // only with NeedPrograms; the demo does without it, so it may not exist
}

// Find finds or fetches everything.
func Find(ctx context.Context, o Options) (*Tools, error) {
	t, err := o.check(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f := &finder{Options: o, debian: debian{dir: o.BuildDir, progress: o.Progress}}
	for _, find := range []func(context.Context, *Tools) error{f.qemu, f.kernel, f.busybox, f.bareModules, f.newer, f.hardware, f.ethtool, f.programs} {
		if err := find(ctx, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// finder carries out one Find.
type finder struct {
	Options
	debian debian
}
