package tools

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vvufwd/cmd/vvudemo/kmod"
)

// kernel finds a kernel and its modules: both from flags, or one of this machine's own cloud kernels, or Debian's package.
// Only cloud kernels are taken unasked, because they boot in a third of the time of a generic one without hardware
// virtualisation.
func (f *finder) kernel(ctx context.Context, t *Tools) error {
	var err error
	switch {
	case f.Kernel != "":
		t.Kernel = f.Kernel
		if t.Modules, err = kmod.Open(f.Modules); err != nil {
			return fmt.Errorf("--modules: %w", err)
		}
		return nil
	case findKernel("/", t):
		return nil
	}
	root, err := f.debian.guest(ctx)
	if err != nil {
		return err
	}
	if !findKernel(root, t) {
		return fmt.Errorf("the kernel package unpacked in %s holds no kernel with modules: remove that directory and try again", root)
	}
	return nil
}

// findKernel looks under root for a 6.1 cloud kernel that this user may read and that has all its modules; the newest wins.
func findKernel(root string, t *Tools) bool {
	kernels, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-6.1*-cloud-amd64"))
	if err != nil {
		return false
	}
	slices.Sort(kernels)
	for _, kernel := range slices.Backward(kernels) {
		release := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
		if !readable(kernel) {
			continue
		}
		for _, lib := range []string{"lib", "usr/lib"} {
			modules, err := kmod.Open(filepath.Join(root, lib, "modules", release))
			if err == nil {
				t.Kernel, t.Modules = kernel, modules
				return true
			}
		}
	}
	return false
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
