package kmod

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// parseDep reads a modules.dep. Each line is "module: dep dep ...", all of them paths relative to the tree.
// The answer maps each module's path to its dependencies in the order of the file.
func parseDep(r io.Reader) (map[string][]string, error) {
	deps := make(map[string][]string)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // a module with hundreds of dependencies still fits
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("line %d: no colon in %q", n, line)
		}
		deps[strings.TrimSpace(name)] = strings.Fields(rest)
	}
	return deps, lines.Err()
}

// WriteDep writes a modules.dep that describes the given modules, in their order.
func WriteDep(w io.Writer, modules []Module) error {
	for _, m := range modules {
		line := m.Path + ":"
		if len(m.Deps) > 0 {
			line += " " + strings.Join(m.Deps, " ")
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// parseList reads modules.builtin: one path a line. The answer holds the kernel's names.
func parseList(r io.Reader) (map[string]bool, error) {
	names := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			names[Canonical(line)] = true
		}
	}
	return names, lines.Err()
}
