package apt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source is one entry of the machine's apt sources, whichever form it was written in.
type Source struct {
	// File is where the entry stands.
	File       string
	Types      []string // "deb", "deb-src"
	URIs       []string
	Suites     []string
	Components []string
	// Options are all other fields in deb822 spelling ("Signed-By"), with the text that follows the colon, which for an
	// embedded key has several lines.
	Options map[string]string
	// Disabled entries ("Enabled: no") are read, but never picked.
	Disabled bool
}

// ReadSources reads sources.list, sources.list.d/*.list and sources.list.d/*.sources under dir, which is /etc/apt.
// Files that are missing or not readable for this user are passed over; a malformed one is an error that names it.
func ReadSources(dir string) ([]Source, error) {
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		if err != nil {
			return nil, fmt.Errorf("apt sources in %q: %w", dir, err)
		}
		files = append(files, found...)
	}
	var sources []Source
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("apt sources: %w", err)
		}
		parse := parseOneLine
		if strings.HasSuffix(file, ".sources") {
			parse = parseDeb822
		}
		found, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("apt sources: %s: %w", file, err)
		}
		for i := range found {
			found[i].File = file
		}
		sources = append(sources, found...)
	}
	return sources, nil
}
