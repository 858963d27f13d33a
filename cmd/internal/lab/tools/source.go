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

// isOurs reports whether a go.mod is that of this project.
func isOurs(gomod string) bool {
	for line := range strings.Lines(gomod) {
		if strings.TrimSpace(line) == "module vvufwd" {
			return true
		}
	}
	return false
}
