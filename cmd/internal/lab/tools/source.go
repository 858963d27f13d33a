package tools

import (
	"os"
	"path/filepath"
	"strings"
)

// SourceDir returns the root of the project's source tree if the working directory is in it, or "".
func SourceDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			if isOurs(string(text)) {
				return dir
			}
			return ""
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// BuildDir returns the directory for what is fetched and built, unless a flag names one: build in the source tree, if the working
// directory is in it or this program is one that "make build" has put there; else build below the working directory.
func BuildDir() string {
	if source := SourceDir(); source != "" {
		return filepath.Join(source, buildName)
	}
	if self, err := os.Executable(); err == nil {
		if dir := buildOf(self); dir != "" {
			return dir
		}
	}
	return buildName
}

const buildName = "build"

// buildOf is the build directory that a program is in, as build/bin/NAME of the source tree, or "".
func buildOf(program string) string {
	bin := filepath.Dir(program)
	build := filepath.Dir(bin)
	if filepath.Base(bin) != "bin" || filepath.Base(build) != buildName {
		return ""
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(build), "go.mod")); err != nil || !isOurs(string(text)) {
		return ""
	}
	return build
}

// isOurs reports whether a go.mod is that of this project.
func isOurs(gomod string) bool {
	for line := range strings.Lines(gomod) {
		if strings.TrimSpace(line) == "module vvufwd" {
			return true
		}
	}
	return false
}
