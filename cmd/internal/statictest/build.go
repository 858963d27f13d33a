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

// Build builds commands of this module ("vvufwd") into dir. In one respect they differ
// from those that are shipped: a system call that is refused kills them, so that none
// goes unnoticed.
func Build(dir string, commands ...string) error {
	const strict = "-ldflags=-X vvufwd/cmd/internal/confine.strict=yes"
	args := []string{"build", strict, "-o", dir + string(filepath.Separator)}
	for _, command := range commands {
		args = append(args, "vvufwd/cmd/"+command)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", commands, err, out)
	}
	return nil
}
