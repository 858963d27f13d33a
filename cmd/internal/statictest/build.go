// Package statictest builds commands of this module as they are shipped, for tests of
// what only such a binary can do: a test binary with the race detector has cgo, and
// cannot be confined.
package statictest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds a command of this module, named by its import path, into dir and
// returns where it is.
func Build(dir, command string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(command))
	build := exec.Command("go", "build", "-o", binary, command)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
	}
	return binary, nil
}
