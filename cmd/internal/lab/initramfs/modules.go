package initramfs

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/kmod"
)

// addModules puts the named kernel modules, all they depend on and a modules.dep of exactly these under /lib/modules/RELEASE.
// The refused compressions are those that the image's loader cannot read.
func (a *archive) addModules(tree *kmod.Tree, refused []string, names ...string) error {
	modules, err := tree.Closure(names...)
	if err != nil {
		return err
	}
	dir := path.Join("lib/modules", tree.Release)
	for _, m := range modules {
		for _, r := range refused {
			if m.Compression() == r {
				return fmt.Errorf("kernel module %s is compressed with %s, which the image cannot load: give --modules a directory of uncompressed modules", m.Path, r)
			}
		}
		if err := a.copy(path.Join(dir, m.Path), 0o644, filepath.Join(tree.Dir, m.Path)); err != nil {
			return err
		}
	}
	var dep strings.Builder
	if err := kmod.WriteDep(&dep, modules); err != nil {
		return err
	}
	a.file(path.Join(dir, "modules.dep"), 0o644, []byte(dep.String()))
	return nil
}
