package tools

import (
	"context"
	"fmt"
	"os"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/kernel"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
)

// check returns what flags name, and refuses what cannot be used, before anything takes its time: a cli.UsageError for flags that do
// not go together, a cli.UnusableError for what is not there, or is something else.
func (o Options) check(ctx context.Context) (*Tools, error) {
	if (o.Kernel == "") != (o.Modules == "") {
		return nil, cli.Usagef("--kernel and --modules belong together: give the kernel image and its lib/modules/RELEASE directory")
	}
	t := &Tools{Kernel: o.Kernel, Busybox: o.Busybox}
	for _, one := range []func(context.Context, *Tools) error{o.checkPaths, o.checkQEMU, o.checkKernel, o.checkBusybox, o.checkPrograms} {
		if err := one(ctx, t); err != nil {
			return nil, &cli.UnusableError{Err: err}
		}
	}
	return t, nil
}

func (o Options) checkPaths(context.Context, *Tools) error {
	for _, flag := range []struct{ name, path string }{
		{"--kernel", o.Kernel}, {"--modules", o.Modules}, {"--busybox", o.Busybox}, {"--bin", o.Bin},
	} {
		if flag.path == "" {
			continue
		}
		if _, err := os.Stat(flag.path); err != nil {
			return fmt.Errorf("%s: %w", flag.name, err)
		}
	}
	return nil
}

// checkQEMU starts each QEMU that is given for its version.
func (o Options) checkQEMU(ctx context.Context, t *Tools) (err error) {
	if o.QEMU != "" {
		if t.QEMU, err = o.givenQEMU(ctx); err != nil {
			return err
		}
	}
	switch {
	case o.AppQEMU != "":
		if t.AppQEMU, err = given(ctx, "--app-qemu", o.AppQEMU); err == nil {
			err = o.checkAppQEMU("--app-qemu", t.AppQEMU)
		}
	case o.QEMU != "":
		err = o.checkAppQEMU("--qemu", t.QEMU)
	}
	return err
}

// checkAppQEMU refuses a QEMU that is too old for an app VM. which says where it comes from.
func (o Options) checkAppQEMU(which string, q machine.QEMU) error {
	if o.NeedPrograms && !q.Version.AtLeast(machine.SharedMemory) {
		return fmt.Errorf("%s %s is version %v, but the app VM's QEMU must be %v or later, to share memory: give one with --app-qemu", which, q.Origin, q.Version, machine.SharedMemory)
	}
	return nil
}

// checkKernel makes sure that a kernel is one, and that the modules are its.
func (o Options) checkKernel(_ context.Context, t *Tools) error {
	if o.Kernel == "" {
		return nil
	}
	tree, err := kmod.Open(o.Modules)
	if err != nil {
		return fmt.Errorf("--modules: %w", err)
	}
	image, err := kernel.Open(o.Kernel)
	if err != nil {
		return fmt.Errorf("--kernel: %w", err)
	}
	if image.Release != tree.Release {
		return fmt.Errorf("--modules: %s has the modules of kernel %s, but %s is kernel %s: take both from the same build", tree.Dir, tree.Release, o.Kernel, image.Release)
	}
	t.Modules = tree
	return nil
}

func (o Options) checkBusybox(ctx context.Context, _ *Tools) error {
	if o.Busybox == "" {
		return nil
	}
	if err := checkBusybox(ctx, o.Busybox); err != nil {
		return fmt.Errorf("--busybox %s: %w", o.Busybox, cli.Unnamed(err))
	}
	return nil
}

func (o Options) checkPrograms(_ context.Context, t *Tools) error {
	if o.Bin == "" || !o.NeedPrograms {
		return nil
	}
	return t.programsIn(o.Bin)
}
