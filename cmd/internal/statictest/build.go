// Package statictest builds commands of this module as they are shipped, and as a plain
// "go build" makes them, for tests of what only such a binary can do: a test binary with
// the race detector makes system calls of its own, and cannot be confined.
package statictest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds commands of this module ("vvufwd") into dir. In one respect they differ
// from those that are shipped: a system call that is refused kills them, so that none
// goes unnoticed.
func Build(dir string, commands ...string) error { return build(dir, "CGO_ENABLED=0", commands) }

// BuildWithCgo is Build with cgo, as go does where there is a C compiler and no one
// tells it otherwise. Without a C compiler it returns ErrNoCompiler.
func BuildWithCgo(dir string, commands ...string) error {
	if _, err := exec.LookPath(compiler()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	return build(dir, "CGO_ENABLED=1", commands)
}

// ErrNoCompiler says that the machine has no C compiler.
var ErrNoCompiler = errors.New("no C compiler")

func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return strings.Fields(cc)[0]
	}
	return "gcc"
}

func build(dir, setting string, commands []string) error {
	const strict = "-ldflags=-s -w -X vvufwd/cmd/internal/confine.strict=yes" // stripped, which is most of linking
	args := []string{"build", strict, "-o", dir + string(filepath.Separator)}
	for _, command := range commands {
		args = append(args, "vvufwd/cmd/"+command)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), setting)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", commands, err, out)
	}
	return nil
}
