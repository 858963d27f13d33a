package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"vvufwd/cmd/internal/cli"
)

// programs finds the project's own programs, if no flag named their directory: built from the source tree, or beside this program.
func (f *finder) programs(ctx context.Context, t *Tools) error {
	if !f.NeedPrograms || f.Bin != "" {
		return nil
	}
	dir, err := f.buildPrograms(ctx)
	if err != nil {
		return err
	}
	return t.programsIn(dir)
}

// programsIn takes the programs from a directory, and makes sure that it has those that the demo does not do without.
func (t *Tools) programsIn(dir string) error {
	vvufwd := filepath.Join(dir, "vvufwd") // errors name it as it was given
	if _, err := os.Stat(filepath.Join(dir, "vvudev")); err != nil {
		return fmt.Errorf("%w: give --bin the directory of vvufwd and vvudev", err)
	}
	if err := CheckStatic(vvufwd); err != nil {
		return fmt.Errorf("%s must run as /init of a virtual machine: %w (build it with CGO_ENABLED=0)", vvufwd, cli.Unnamed(err))
	}
	dir, err := filepath.Abs(dir) // names without a slash, as are those in ".", would be looked for in PATH
	t.Vvufwd, t.Vvudev, t.Vvugen = filepath.Join(dir, "vvufwd"), filepath.Join(dir, "vvudev"), filepath.Join(dir, "vvugen")
	return err
}

// buildPrograms builds the programs into the build directory and returns where they are. Without a source tree, they are
// expected beside this program.
func (f *finder) buildPrograms(ctx context.Context) (string, error) {
	if f.SourceDir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find vvufwd and vvudev: %w: give --bin their directory", err)
		}
		return filepath.Dir(self), nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("no go command to build vvufwd and vvudev with: install Go, or give --bin the directory of built ones")
	}
	dir, err := filepath.Abs(filepath.Join(f.BuildDir, "bin"))
	if err != nil {
		return "", err
	}
	if _, done := built.Load(dir); done {
		return dir, nil // by another test of this process; the lock is held
	}
	f.Progress("building vvufwd, vvudev and vvugen")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", fresh+string(filepath.Separator), "./cmd/vvufwd", "./cmd/vvudev", "./cmd/vvugen")
	cmd.Dir = f.SourceDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vvufwd and vvudev: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	for _, name := range []string{"vvufwd", "vvudev", "vvugen"} { // in place, for those who are about to start one
		if err := os.Rename(filepath.Join(fresh, name), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	built.Store(dir, true)
	return dir, nil
}

// built has the directories into which this process has built the programs.
var built sync.Map
