package modules

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Name turns the name of a module's file, or a name as people write it, into the
// kernel's: vfio_pci for kernel/drivers/vfio/pci/vfio-pci.ko.xz.
func Name(s string) string {
	s, _, _ = strings.Cut(path.Base(s), ".ko")
	return strings.ReplaceAll(s, "-", "_")
}

// ReadDep reads dir/modules.dep: the path of each module's file with the paths of all that it
// depends on, directly or not, of which the last one must be loaded first. Paths are relative
// to dir unless they begin with a slash, as those of old versions of depmod do. The error
// wraps fs.ErrNotExist if there is no such file.
func ReadDep(dir string) (map[string][]string, error) {
	deps := make(map[string][]string)
	err := readLines(filepath.Join(dir, "modules.dep"), func(line string) error {
		file, needs, found := strings.Cut(line, ":")
		if !found {
			return fmt.Errorf("no colon in the line %q", line)
		}
		deps[strings.TrimSpace(file)] = strings.Fields(needs)
		return nil
	})
	return deps, err
}

// ReadBuiltin reads dir/modules.builtin: the names of what needs no file. The error wraps
// fs.ErrNotExist if there is no such file.
func ReadBuiltin(dir string) (map[string]bool, error) {
	names := make(map[string]bool)
	err := readLines(filepath.Join(dir, "modules.builtin"), func(line string) error {
		names[Name(line)] = true
		return nil
	})
	return names, err
}

// readLines calls f for each line of a file that is neither empty nor a comment, without the
// white space around it.
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
