package kmod

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/unpack"
	"vvufwd/cmd/internal/modules"
)

// Firmware lists the firmware files that a module of the tree says it may load, relative to /lib/firmware; some are patterns. Drivers
// name many, of which a device takes one or two.
func (t *Tree) Firmware(m Module) ([]string, error) {
	info, err := readInfo(filepath.Join(t.Dir, m.Path))
	if err != nil {
		return nil, err
	}
	return records(info, "firmware"), nil
}

// readDepends returns the names (with underscores) of the modules that the module file says it needs directly.
func readDepends(file string) ([]string, error) {
	info, err := readInfo(file)
	if err != nil {
		return nil, err
	}
	return parseDepends(info), nil
}

// readInfo returns the .modinfo section of a module file, compressed or not, which holds NUL-terminated "key=value" strings.
func readInfo(file string) (string, error) {
	body, err := unpack.File(file)
	if err != nil {
		return "", fmt.Errorf("read kernel module: %w", err)
	}
	object, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("read kernel module %s: it is no object file (%w)", file, err)
	}
	section := object.Section(".modinfo")
	if section == nil {
		return "", fmt.Errorf("read kernel module %s: it has no .modinfo section, so it is not a kernel module", file)
	}
	info, err := section.Data()
	if err != nil {
		return "", fmt.Errorf("read kernel module %s: %w", file, err)
	}
	return string(info), nil
}

// parseDepends picks the dependency names out of the contents of a .modinfo section.
func parseDepends(info string) []string {
	var names []string
	for _, value := range records(info, "depends") {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, modules.Name(name))
		}
	}
	return names
}

// records returns the values of a key that are not empty.
func records(info, key string) []string {
	var values []string
	for record := range strings.SplitSeq(info, "\x00") {
		if value, found := strings.CutPrefix(record, key+"="); found && value != "" {
			values = append(values, value)
		}
	}
	return values
}
