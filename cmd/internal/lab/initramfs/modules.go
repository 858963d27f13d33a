package initramfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/unpack"
)

// addModules puts the named kernel modules, all they depend on and a modules.dep of exactly these under /lib/modules/RELEASE. All are
// decompressed, so that neither the kernel nor a loader must know how to. The tree's modules.builtin comes along: whoever loads
// modules by name cannot tell otherwise what needs no file from what is missing.
func (a *archive) addModules(tree *kmod.Tree, names ...string) error {
	modules, err := tree.Closure(names...)
	if err != nil {
		return err
	}
	dir := path.Join("lib/modules", tree.Release)
	for i, m := range modules {
		body, err := unpack.File(filepath.Join(tree.Dir, m.Path))
		if err != nil {
			return fmt.Errorf("read a kernel module for the initramfs: %w", err)
		}
		modules[i] = m.Uncompressed()
		a.file(path.Join(dir, modules[i].Path), 0o644, body)
	}
	var dep strings.Builder
	if err := kmod.WriteDep(&dep, modules); err != nil {
		return err
	}
	a.file(path.Join(dir, "modules.dep"), 0o644, []byte(dep.String()))
	builtin, err := os.ReadFile(filepath.Join(tree.Dir, "modules.builtin"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read what is built into the kernel, for the initramfs: %w", err)
	}
	a.file(path.Join(dir, "modules.builtin"), 0o644, builtin)
	return nil
}
