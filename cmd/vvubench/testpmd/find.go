package testpmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programName is what Debian calls it. DPDK's own build says the same.
const programName = "dpdk-testpmd"

// Program is a testpmd that can be run.
type Program struct {
	// Command is the program and what has to stand before all other arguments.
	Command []string
	// Env is what it needs in its environment.
	Env []string
	// Origin says where it came from, for people.
	Origin string
}

// Options say where to look.
type Options struct {
	// Path is a program that someone named by flag; empty: look for one.
	Path string
	// Release, if set, asks for Debian's testpmd of that release and no other.
	Release Release
	// BuildDir receives what has to be unpacked.
	BuildDir string
	// Progress is told what takes its time. It must not be nil.
	Progress func(text string)
}

// Find returns the testpmd that was named, the machine's own, the one that an
// earlier run unpacked, or Debian's, unpacked now, which takes neither root nor a
// change to the machine. Two processes may not do that in one directory at once.
func Find(ctx context.Context, o Options) (*Program, error) {
	if o.Path != "" {
		path, err := filepath.Abs(o.Path) // a name without a slash would be looked for in PATH
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("testpmd: %w: name the program file", err)
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("testpmd: %s cannot be executed: name the program file", o.Path)
		}
		return &Program{Command: []string{path}, Origin: o.Path}, nil
	}
	if path, err := exec.LookPath(programName); err == nil && o.Release == (Release{}) {
		return &Program{Command: []string{path}, Origin: path}, nil
	}
	p, err := fetch(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no %s in PATH, and none could be unpacked: install DPDK (Debian: apt-get install dpdk-dev; Fedora: dpdk-tools), or name the program", programName), err)
	}
	return p, nil
}
