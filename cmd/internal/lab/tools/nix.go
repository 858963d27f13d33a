package tools

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"vvufwd/cmd/internal/lab/apt"
)

// nixRelease is the Debian release whose Nix is used: bookworm's is older than what nixpkgs takes today.
const nixRelease = "trixie"

// DebianNix unpacks Nix and returns how one of its commands is begun, "nix-build" for one. Of the options only BuildDir and Progress are
// looked at. What an earlier call unpacked is used as it is.
//
// Nix has to be told to start no build hook (--option build-hook ""): it would start itself again, and finds the loader in its place.
func DebianNix(ctx context.Context, o Options) (begin func(command string) []string, err error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := filepath.Abs(d.path("nix"))
	if err != nil {
		return nil, err
	}
	if _, complete := apt.Unpacked(dir); !complete {
		if err := d.fetchClosure(ctx, dir, nixRelease, "Nix", "nix-bin"); err != nil {
			return nil, fmt.Errorf("fetch Nix: %w", err)
		}
	}
	return func(command string) []string {
		words := unpackedCommand(dir, "nix")
		return slices.Concat(words[:1], []string{"--argv0", command}, words[1:])
	}, nil
}

// fetchClosure unpacks a package of a release with all that it depends on into dir. what is what a person calls it.
func (d *debian) fetchClosure(ctx context.Context, dir, release, what, name string) error {
	p, err := d.open(ctx, release, release)
	if err != nil {
		return err
	}
	d.progress("fetching " + what)
	files, err := p.Closure(ctx, release, name)
	if err != nil {
		return err
	}
	if err := apt.Unpack(ctx, dir, release, files); err != nil {
		return err
	}
	return d.forget(release)
}
