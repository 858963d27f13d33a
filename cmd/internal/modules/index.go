package modules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoModule says that there is neither a file of a kernel module nor a sign that
// it is built in.
var ErrNoModule = errors.New("is not in the initramfs")

// Index knows the kernel modules of one directory that has a modules.dep. It does not change
// once it is made.
type Index struct {
	dir     string
	files   map[string]string   // the path of each module's file, by the module's name
	needs   map[string][]string // see ReadDep
	builtin map[string]bool
}

// ReadIndex reads modules.dep and, if it is there, modules.builtin.
func ReadIndex(dir string) (*Index, error) {
	x := &Index{dir: dir, files: make(map[string]string)}
	var err error
	if x.needs, err = ReadDep(dir); err != nil {
		return nil, fmt.Errorf("%w; put the kernel modules that are wanted with all they need into the initramfs, and run depmod for it, or name none of them if all are built in", err)
	}
	for file := range x.needs {
		x.files[Name(file)] = file
	}
	if x.builtin, err = ReadBuiltin(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return x, nil
}

// LoadOrder lists the files to load for a module, in order; none for one that is
// built in.
func (x *Index) LoadOrder(name string) ([]string, error) {
	name = Name(name)
	file, found := x.files[name]
	if !found {
		if x.builtin[name] {
			return nil, nil
		}
		return nil, fmt.Errorf("kernel module %s %w: add it, with what it depends on, to %s and its modules.dep", name, ErrNoModule, x.dir)
	}
	order := append([]string{file}, x.needs[file]...)
	slices.Reverse(order)
	return order, nil
}

// Open opens a file that LoadOrder named.
func (x *Index) Open(file string) (*os.File, error) {
	if path.IsAbs(file) {
		// Old versions of depmod write /lib/modules/RELEASE/...; the end of that is
		// what counts, because dir has the same beginning.
		_, below, found := strings.Cut(file, "/"+filepath.Base(x.dir)+"/")
		if !found {
			return nil, fmt.Errorf("modules.dep names %s, which is not below %s", file, x.dir)
		}
		file = below
	}
	return os.Open(filepath.Join(x.dir, file))
}
