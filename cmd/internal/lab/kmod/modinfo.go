package kmod

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"vvufwd/cmd/internal/modules"
)

// readDepends returns the names (with underscores) of the modules that the uncompressed module file says it needs
// directly: the "depends=" record of its .modinfo section, which holds NUL-terminated "key=value" strings.
func readDepends(file string) ([]string, error) {
	object, err := elf.Open(file)
	switch _, unreadable := errors.AsType[*fs.PathError](err); {
	case unreadable:
		return nil, fmt.Errorf("read kernel module: %w", err)
	case err != nil:
		return nil, fmt.Errorf("read kernel module %s: it is no object file (%w)", file, err)
	}
	defer object.Close()
	section := object.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read kernel module %s: it has no .modinfo section, so it is not a kernel module", file)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read kernel module %s: %w", file, err)
	}
	return parseDepends(string(info)), nil
}

// parseDepends picks the dependency names out of the contents of a .modinfo section.
func parseDepends(info string) []string {
	var names []string
	for record := range strings.SplitSeq(info, "\x00") {
		value, found := strings.CutPrefix(record, "depends=")
		if !found || value == "" {
			continue
		}
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, modules.Name(name))
		}
	}
	return names
}
