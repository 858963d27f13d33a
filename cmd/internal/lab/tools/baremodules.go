package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"vvufwd/cmd/internal/lab/apt"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/modules"
)

// bareModules finds modules of VFIO with the mode for devices without an IOMMU. Debian's kernels are built without it, so these modules
// are built from Debian's source of the same kernel, once.
func (f *finder) bareModules(ctx context.Context, t *Tools) (err error) {
	if !f.NeedBare {
		return nil
	}
	if f.Kernel != "" {
		t.BareModules = t.Modules // the person's kernel has to have the mode
		return nil
	}
	b := moduleBuilder{debian: &f.debian, busybox: t.Busybox, tree: t.Modules, work: f.debian.path("bare-source"), dir: f.debian.path("bare-" + t.Modules.Release)}
	if t.BareModules, err = kmod.Open(b.dir); err == nil {
		return nil
	}
	for _, program := range []string{"make", "gcc", "tar", "strip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("build VFIO modules with the mode for devices without an IOMMU: no %s: install make, gcc and binutils, or give --kernel and --modules of a kernel with CONFIG_VFIO_NOIOMMU=y", program)
		}
	}
	if err := b.build(ctx); err != nil {
		return fmt.Errorf("build VFIO modules with the mode for devices without an IOMMU: %w", err)
	}
	t.BareModules, err = kmod.Open(b.dir)
	return err
}

// moduleBuilder builds drivers/vfio of a kernel.
type moduleBuilder struct {
	debian  *debian
	busybox string
	tree    *kmod.Tree // of the kernel, as it is packaged
	work    string     // removed at the end
	dir     string     // appears when it is complete
}

// vfioSource is where VFIO is in a kernel's source.
const vfioSource = "drivers/vfio"

func (b *moduleBuilder) build(ctx context.Context) error {
	if err := b.fetch(ctx); err != nil {
		return err
	}
	b.debian.progress("building VFIO for " + b.tree.Release)
	headers, err := filepath.Abs(filepath.Join(b.work, "usr", "src", "linux-headers-"+b.tree.Release))
	if err != nil {
		return err
	}
	if err := relocate(filepath.Join(headers, "Makefile"), filepath.Dir(headers)); err != nil {
		return err
	}
	source, err := b.source(ctx, filepath.Dir(headers))
	if err != nil {
		return err
	}
	// -g0: debugging information is most of a module, and goes into the RAM disk.
	err = run(ctx, "", "make", fmt.Sprintf("-j%d", runtime.NumCPU()), "-C", headers, "M="+source, "CONFIG_VFIO_NOIOMMU=y", "CONFIG_VFIO_MDEV=", "CONFIG_MLX5_VFIO_PCI=",
		"CONFIG_DEBUG_INFO_BTF_MODULES=", "KCFLAGS=-DCONFIG_VFIO_NOIOMMU=1 -g0", "modules")
	if err != nil {
		return err
	}
	if err := b.collect(ctx, source); err != nil {
		return err
	}
	return os.RemoveAll(b.work)
}

// fetch unpacks headers and source of the kernel's version.
func (b *moduleBuilder) fetch(ctx context.Context) error {
	headers := "linux-headers-" + b.tree.Release
	suite := guestRelease.suite
	p, err := b.debian.open(ctx, suite, suite)
	if err != nil {
		return err
	}
	version, err := p.Candidate(ctx, "", headers)
	if err == nil && version == "" {
		err = fmt.Errorf("%s of Debian has no %s any more: remove %s, so that a kernel of today is fetched", suite, headers, b.debian.path("guest"))
	}
	if err != nil {
		return err
	}
	depends, err := p.Depends(ctx, headers)
	if err != nil {
		return err
	}
	names := []string{headers}
	for _, name := range depends {
		if series, found := strings.CutPrefix(name, "linux-kbuild-"); found {
			names = append(names, name, "linux-source-"+series+"="+version)
		} else if strings.HasPrefix(name, "linux-headers-") {
			names = append(names, name)
		}
	}
	var files []string
	for _, name := range names {
		b.debian.progress("fetching " + name)
		file, err := p.Single(ctx, name)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	if err := apt.Unpack(ctx, b.work, suite, files); err != nil {
		return err
	}
	return b.debian.forget(suite)
}

// relocate makes a Makefile of kernel headers work where they were unpacked: it names the common part by its path in the system.
func relocate(makefile, dir string) error {
	text, err := os.ReadFile(makefile)
	if err != nil {
		return err
	}
	return os.WriteFile(makefile, bytes.ReplaceAll(text, []byte("/usr/src/"), []byte(dir+"/")), 0o644)
}

// source takes VFIO's source out of the package's archive and returns its directory.
func (b *moduleBuilder) source(ctx context.Context, dir string) (string, error) {
	archives, err := filepath.Glob(filepath.Join(dir, "linux-source-*.tar.xz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("%d archives of the kernel's source in %s, want one", len(archives), dir)
	}
	busybox, err := filepath.Abs(b.busybox)
	if err != nil {
		return "", err
	}
	top := strings.TrimSuffix(filepath.Base(archives[0]), ".tar.xz")
	if err := run(ctx, dir, "tar", "--use-compress-program="+busybox+" unxz", "-xf", archives[0], top+"/"+vfioSource); err != nil {
		return "", err
	}
	return filepath.Join(dir, top, vfioSource), nil
}

// collect makes a directory of modules in which VFIO's are those that were built.
func (b *moduleBuilder) collect(ctx context.Context, source string) error {
	built := map[string]string{}
	err := filepath.WalkDir(source, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko") {
			built[modules.Name(path)] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	needed, err := b.tree.Closure("vfio", "vfio_iommu_type1", "vfio_pci")
	if err != nil {
		return err
	}
	partial := b.dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	root := filepath.Join(partial, "lib", "modules", b.tree.Release)
	for _, m := range needed {
		from := filepath.Join(b.tree.Dir, m.Path)
		if path, ok := built[m.Name]; ok {
			from = path
			delete(built, m.Name)
		}
		if err := copyFile(from, filepath.Join(root, m.Path)); err != nil {
			return err
		}
	}
	for _, vital := range []string{"vfio", "vfio_pci", "vfio_pci_core"} {
		if _, left := built[vital]; left || !slices.ContainsFunc(needed, func(m kmod.Module) bool { return m.Name == vital }) {
			return fmt.Errorf("the kernel %s has no module %s: it is built in", b.tree.Release, vital)
		}
	}
	if err := copyFile(filepath.Join(b.tree.Dir, "modules.builtin"), filepath.Join(root, "modules.builtin")); err != nil {
		return err
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	return os.Rename(partial, b.dir)
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644))
}

// run runs a program, whose last words are in the error if it fails.
func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("%s: %w: %s", program, err, text[max(0, len(text)-2000):])
	}
	return nil
}
