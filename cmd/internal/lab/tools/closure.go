package tools

import (
	"context"
	"fmt"
	"path/filepath"

	"vvufwd/cmd/internal/lab/apt"
)

// unpackedClosure is the directory in which a package of a Debian release is unpacked with all that it depends on: folder, below the
// build directory. What an earlier call unpacked is used as it is. what is what a person calls the package. Of the options only BuildDir
// and Progress are looked at.
func unpackedClosure(ctx context.Context, o Options, folder, release, what, name string) (dir string, err error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	if dir, err = filepath.Abs(d.path(folder)); err != nil {
		return "", err
	}
	if _, complete := apt.Unpacked(dir); !complete {
		if err := d.fetchClosure(ctx, dir, release, what, name); err != nil {
			return "", fmt.Errorf("fetch %s: %w", what, err)
		}
	}
	return dir, nil
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
