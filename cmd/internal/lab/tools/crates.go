package tools

import (
	"context"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/apt"
)

// cratesRelease is the Debian release whose Rust crates are used.
const cratesRelease = "trixie"

// DebianCrates unpacks the package of a Rust crate, "vhost" for one, with those of all crates that it depends on, and returns the
// directory that cargo can take in place of its registry (a directory source). Of the options only BuildDir and Progress are looked
// at. What an earlier call unpacked is used as it is.
func DebianCrates(ctx context.Context, o Options, crate string) (string, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := filepath.Abs(d.path("crates-" + crate))
	if err != nil {
		return "", err
	}
	registry := filepath.Join(dir, "usr", "share", "cargo", "registry")
	if _, complete := apt.Unpacked(dir); complete {
		return registry, nil
	}
	p, err := d.open(ctx, cratesRelease, cratesRelease)
	if err != nil {
		return "", err
	}
	files, err := p.Closure(ctx, cratesRelease, "librust-"+crate+"-dev")
	if err != nil {
		return "", err
	}
	if err := apt.Unpack(ctx, dir, cratesRelease, onlyCrates(files)); err != nil {
		return "", err
	}
	return registry, d.forget(cratesRelease)
}

// onlyCrates leaves out the compilers and libraries that packages of crates depend on too: the machine has its own.
func onlyCrates(files []string) []string {
	var crates []string
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "librust-") {
			crates = append(crates, file)
		}
	}
	return crates
}
