package appliance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// errNoModule says that there is neither a file of a kernel module nor a sign that
// it is built in.
var errNoModule = errors.New("is not in the initramfs")

// moduleIndex knows the kernel modules of one directory /lib/modules/RELEASE. It
// does not change once it is made.
type moduleIndex struct {
	dir string
	// files is the path of each module's file, by the module's name. Paths are those
	// of modules.dep, relative to dir unless they begin with a slash.
	files map[string]string
	// needs lists, by path, the paths that a module depends on, directly or not. The
	// last one must be loaded first.
	needs   map[string][]string
	builtin map[string]bool // names of what needs no file
}

// readModuleIndex reads modules.dep and, if it is there, modules.builtin.
func readModuleIndex(dir string) (*moduleIndex, error) {
	x := &moduleIndex{dir: dir, files: make(map[string]string), needs: make(map[string][]string), builtin: make(map[string]bool)}
	err := readLines(filepath.Join(dir, "modules.dep"), x.addDep)
	if err != nil {
		return nil, fmt.Errorf("%w; put the modules vfio, vfio_iommu_type1 and vfio-pci with all they need into the initramfs and run depmod for it", err)
	}
	err = readLines(filepath.Join(dir, "modules.builtin"), func(line string) error {
		x.builtin[moduleName(line)] = true
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return x, nil
}

// addDep takes in a line "file: file file ..." of modules.dep.
func (x *moduleIndex) addDep(line string) error {
	file, needs, found := strings.Cut(line, ":")
	if !found {
		return fmt.Errorf("no colon in the line %q", line)
	}
	file = strings.TrimSpace(file)
	x.files[moduleName(file)] = file
	x.needs[file] = strings.Fields(needs)
	return nil
}

// loadOrder lists the files to load for a module, in order; none for one that is
// built in.
func (x *moduleIndex) loadOrder(name string) ([]string, error) {
	name = moduleName(name)
	file, found := x.files[name]
	if !found {
		if x.builtin[name] {
			return nil, nil
		}
		return nil, fmt.Errorf("kernel module %s %w: add it, with what it depends on, to %s and its modules.dep", name, errNoModule, x.dir)
	}
	order := append([]string{file}, x.needs[file]...)
	slices.Reverse(order)
	return order, nil
}

// open opens a file that loadOrder named.
func (x *moduleIndex) open(file string) (*os.File, error) {
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

// moduleName turns the name of a module's file, or a name as people write it, into
// the kernel's: vfio_pci for kernel/drivers/vfio/pci/vfio-pci.ko.xz.
func moduleName(s string) string {
	s, _, _ = strings.Cut(path.Base(s), ".ko")
	return strings.ReplaceAll(s, "-", "_")
}

// readLines calls f for each line of a file that is not empty, without the white
// space around it.
func readLines(name string, f func(string) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := eachLine(file, f); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func eachLine(r io.Reader, f func(string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // modules with hundreds of dependencies exist
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := f(line); err != nil {
			return err
		}
	}
	return lines.Err()
}
