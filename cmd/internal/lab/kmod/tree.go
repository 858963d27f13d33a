package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vvufwd/cmd/internal/modules"
)

// ErrNoModule is returned for a module that the tree neither holds as a file nor lists as built in.
var ErrNoModule = errors.New("no such kernel module")

// Tree is an opened module directory. It only reads files, and is owned by one goroutine.
type Tree struct {
	// Dir is the directory that holds kernel/, unless all is built in, and modules.builtin.
	Dir string
	// Release is the kernel release the modules belong to: the directory's base name.
	Release string

	files   map[string]string   // kernel name -> path relative to Dir
	builtin map[string]bool     // kernel names of what is built in
	dep     map[string][]string // path -> dependency paths from modules.dep; nil when the tree has none
}

// Open reads the list of modules in dir, which is either lib/modules/RELEASE itself or a directory that holds
// exactly one such release: lib/modules, or the root that lib/modules stands in.
func Open(dir string) (*Tree, error) {
	dir, err := findRelease(dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{Dir: dir, Release: filepath.Base(dir), files: make(map[string]string)}
	if err := t.readFiles(); err != nil {
		return nil, fmt.Errorf("list kernel modules: %w", err)
	}
	if t.builtin, err = modules.ReadBuiltin(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(t.files) == 0 && len(t.builtin) == 0 {
		return nil, fmt.Errorf("%s holds no kernel module (*.ko), nor does a modules.builtin say what the kernel has built in: give a directory such as lib/modules/RELEASE", dir)
	}
	if t.dep, err = modules.ReadDep(dir); errors.Is(err, fs.ErrNotExist) {
		t.dep = nil
	} else if err != nil {
		return nil, err
	}
	return t, nil
}

// findRelease resolves what a person may give for a module directory to the directory of the one release in it.
func findRelease(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("kernel modules: %w", err)
	}
	for _, candidate := range []string{dir, filepath.Join(dir, "lib", "modules"), filepath.Join(dir, "usr", "lib", "modules")} {
		if IsRelease(candidate) {
			return candidate, nil
		}
		entries, err := filepath.Glob(filepath.Join(candidate, "*"))
		if err != nil {
			return "", fmt.Errorf("kernel modules in %q: %w", dir, err)
		}
		releases := slices.DeleteFunc(entries, func(entry string) bool { return !IsRelease(entry) })
		switch len(releases) {
		case 0:
		case 1:
			return releases[0], nil
		default:
			return "", fmt.Errorf("%s holds the modules of %d kernels: give the directory of one release", candidate, len(releases))
		}
	}
	return "", fmt.Errorf("%s is not a kernel module directory: neither it nor a RELEASE in it has kernel/ or modules.builtin", dir)
}

// IsRelease reports whether a directory is one of a kernel's modules. That of a kernel that has all built in has no kernel/ when
// "make modules_install" has made it, only lists.
func IsRelease(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "modules.builtin"))
	return err == nil && info.Mode().IsRegular() || isDir(filepath.Join(dir, "kernel"))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (t *Tree) readFiles() error {
	return filepath.WalkDir(t.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || !isModuleFile(entry.Name()) {
			return nil
		}
		relative, err := filepath.Rel(t.Dir, path)
		if err != nil {
			return err
		}
		t.files[modules.Name(relative)] = filepath.ToSlash(relative)
		return nil
	})
}

// Has reports whether the tree holds a module as a file.
func (t *Tree) Has(name string) bool {
	_, found := t.files[modules.Name(name)]
	return found
}

// AllBuiltIn reports whether the tree holds no module as a file.
func (t *Tree) AllBuiltIn() bool { return len(t.files) == 0 }

// Knows reports whether the tree holds a module as a file or lists it as built in.
func (t *Tree) Knows(name string) bool { return t.Has(name) || t.builtin[modules.Name(name)] }

// Closure returns the named modules and everything they need, each module after those it depends on.
// What is built into the kernel needs no file and is left out. The order is the same for the same input.
func (t *Tree) Closure(names ...string) ([]Module, error) {
	c := closure{tree: t, state: make(map[string]visit)}
	for _, name := range names {
		if err := c.add(modules.Name(name)); err != nil {
			return nil, err
		}
	}
	return c.modules, nil
}

type visit int

const (
	unseen visit = iota
	open         // on the path that is being followed: meeting it again is a loop
	done
)

// closure is one depth-first walk over the dependencies.
type closure struct {
	tree    *Tree
	state   map[string]visit
	modules []Module
}

func (c *closure) add(name string) error {
	switch c.state[name] {
	case done:
		return nil
	case open:
		return fmt.Errorf("kernel module %s depends on itself: the module directory %s is damaged", name, c.tree.Dir)
	}
	path, isFile := c.tree.files[name]
	if !isFile {
		if c.tree.builtin[name] {
			c.state[name] = done
			return nil
		}
		return fmt.Errorf("%w: %s (kernel %s, looked in %s): use a kernel that has it", ErrNoModule, name, c.tree.Release, c.tree.Dir)
	}
	c.state[name] = open
	direct, err := c.tree.direct(path)
	if err != nil {
		return err
	}
	for _, d := range direct {
		if err := c.add(d); err != nil {
			return fmt.Errorf("needed by %s: %w", name, err)
		}
	}
	c.state[name] = done
	c.modules = append(c.modules, Module{Name: name, Path: path, Deps: c.transitive(direct)})
	return nil
}

// direct returns the names of the modules that the file at path needs. From a modules.dep these are all of them, not only the
// nearest: that gives the same closure.
func (t *Tree) direct(path string) ([]string, error) {
	if t.dep == nil {
		return readDepends(filepath.Join(t.Dir, path))
	}
	deps := t.dep[path]
	names := make([]string, len(deps))
	for i, d := range deps {
		names[i] = modules.Name(d)
	}
	return names, nil
}

// transitive lists the paths of all that must be loaded before a module with these dependencies: the last to be loaded first.
// The modules gathered so far are in loading order, so it is enough to pick from them and turn the order round.
func (c *closure) transitive(direct []string) []string {
	wanted := make(map[string]bool)
	for _, name := range direct {
		wanted[c.tree.files[name]] = true
	}
	var paths []string
	for _, m := range slices.Backward(c.modules) {
		if wanted[m.Path] {
			paths = append(paths, m.Path)
			for _, d := range m.Deps {
				wanted[d] = true
			}
		}
	}
	return paths
}
