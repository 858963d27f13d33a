package tools

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vvufwd/cmd/internal/lab/kmod"
)

// kernel finds a kernel and its modules, if no flag names one: one of this machine's own cloud kernels, or Debian's package.
// Only cloud kernels are taken unasked, because they boot in a third of the time of a generic one without hardware
// virtualisation.
func (f *finder) kernel(ctx context.Context, t *Tools) error {
	if f.Kernel != "" || findKernel("/", cloud, guestRelease.series, &t.Kernel, &t.Modules) {
		return nil
	}
	root, err := f.debian.guest(ctx)
	if err != nil {
		return err
	}
	if !findKernel(root, cloud, guestRelease.series, &t.Kernel, &t.Modules) {
		return noKernel(root)
	}
	return nil
}

// newer finds the kernels of other series that are needed, unless the first was chosen by flag.
func (f *finder) newer(ctx context.Context, t *Tools) error {
	if f.Kernel != "" {
		return nil
	}
	for _, k := range []struct {
		needed  bool
		release release
		flavour flavour
		image   *string
		modules **kmod.Tree
	}{
		{f.NeedMatrix || f.NeedNewer, newerRelease, cloud, &t.NewerKernel, &t.NewerModules},
		{f.NeedNewest, newestRelease, cloud, &t.NewestKernel, &t.NewestModules},
		{f.NeedNewestHardware, newestRelease, full, &t.NewestFullKernel, &t.NewestFullModules},
	} {
		if !k.needed {
			continue
		}
		if err := f.another(ctx, t, k.release, k.flavour, k.image, k.modules); err != nil {
			return err
		}
	}
	return nil
}

// another unpacks the kernel of a release.
func (f *finder) another(ctx context.Context, t *Tools, r release, kind flavour, image *string, tree **kmod.Tree) error {
	root, err := f.debian.otherKernel(ctx, r, kind)
	if err != nil {
		return err
	}
	if err := decompressModules(ctx, t.Busybox, root); err != nil {
		return err
	}
	if !findKernel(root, kind, r.series, image, tree) {
		return noKernel(root)
	}
	return nil
}

// hardware finds a kernel that has drivers for hardware, if it is needed.
func (f *finder) hardware(ctx context.Context, t *Tools) error {
	if !f.NeedHardware {
		return nil
	}
	if f.Kernel != "" { // the person's own, which may have them
		t.FullKernel, t.FullModules = t.Kernel, t.Modules
		return nil
	}
	root, err := f.debian.fullKernel(ctx)
	if err != nil {
		return err
	}
	if !findKernel(root, full, guestRelease.series, &t.FullKernel, &t.FullModules) {
		return noKernel(root)
	}
	return nil
}

// flavour is what Debian's names of a kernel end with.
type flavour string

// Flavours of kernels. Cloud kernels boot faster, and have no drivers but for virtual devices.
const (
	cloud flavour = "cloud-amd64"
	full  flavour = "amd64"
)

func noKernel(root string) error {
	return fmt.Errorf("the kernel package unpacked in %s holds no kernel with modules: remove that directory and try again", root)
}

// findKernel looks under root for a kernel of a flavour and a series that this user may read and that has all its modules; the newest wins.
func findKernel(root string, f flavour, series string, image *string, tree **kmod.Tree) bool {
	if series == "" { // any
		series = "*"
	}
	var kernels []string
	releases := map[string]string{} // by kernel
	for _, place := range []struct {
		pattern string
		release func(path string) string
	}{
		{"boot/vmlinuz-" + series + ".*-" + string(f), func(path string) string { return strings.TrimPrefix(filepath.Base(path), "vmlinuz-") }},
		{"usr/lib/modules/" + series + ".*-" + string(f) + "/vmlinuz", func(path string) string { return filepath.Base(filepath.Dir(path)) }}, // since 7.x
	} {
		found, err := filepath.Glob(filepath.Join(root, place.pattern))
		if err != nil {
			return false
		}
		for _, kernel := range found {
			releases[kernel] = place.release(kernel)
		}
		slices.Sort(found)
		kernels = append(kernels, found...)
	}
	for _, kernel := range slices.Backward(kernels) {
		release := releases[kernel]
		if !readable(kernel) || f == full && strings.HasSuffix(release, string(cloud)) {
			continue
		}
		for _, lib := range []string{"lib", "usr/lib"} {
			modules, err := kmod.Open(filepath.Join(root, lib, "modules", release))
			if err == nil && !modules.AllBuiltIn() { // of such a kernel that is a tree whose modules are elsewhere
				*image, *tree = kernel, modules
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
