package initramfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"

	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/unpack"
)

// addFiles adds host files by their paths in the image. None may take the place of what the image has, nor lie below a file.
func (a *archive) addFiles(files map[string]string) error {
	for _, to := range slices.Sorted(maps.Keys(files)) {
		from := files[to]
		name := strings.Trim(path.Clean("/"+to), "/")
		if name == "" {
			return fmt.Errorf("add %s: %q is no file's path in the image", from, to)
		}
		if _, taken := a.entries[name]; taken {
			return fmt.Errorf("add %s: the image has a /%s already: give another path", from, name)
		}
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if e, known := a.entries[parent]; known && e.mode&^cpio.ModePerm != cpio.TypeDir {
				return fmt.Errorf("add %s: /%s is a file of the image, so that nothing can lie below it: give another path", from, parent)
			}
		}
		info, err := os.Stat(from)
		if err != nil {
			return fmt.Errorf("add a file to the initramfs: %w", err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("add %s to the initramfs: it is not a regular file", from)
		}
		if err := a.copy(name, cpio.FileMode(info.Mode().Perm()), from); err != nil {
			return err
		}
	}
	return nil
}

// addFirmware adds what the named modules, and those they depend on, say that they may load of the directory, decompressed. That
// drivers name more than there is, is usual.
func (a *archive) addFirmware(tree *kmod.Tree, dir string, names ...string) error {
	if dir == "" {
		return nil
	}
	modules, err := tree.Closure(names...)
	if err != nil {
		return err
	}
	for _, m := range modules {
		patterns, err := tree.Firmware(m)
		if err != nil {
			return err
		}
		for _, pattern := range patterns {
			if err := a.addBlobs(dir, pattern); err != nil {
				return fmt.Errorf("firmware for kernel module %s: %w", m.Name, err)
			}
		}
	}
	return nil
}

func (a *archive) addBlobs(dir, pattern string) error {
	for _, suffix := range []string{"", ".xz", ".zst"} {
		found, err := fs.Glob(os.DirFS(dir), path.Clean(pattern)+suffix)
		if err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		for _, name := range found {
			body, err := unpack.File(filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // a link to nothing
			}
			if err != nil {
				return err
			}
			a.file(path.Join("lib/firmware", strings.TrimSuffix(name, suffix)), 0o644, body)
		}
	}
	return nil
}
