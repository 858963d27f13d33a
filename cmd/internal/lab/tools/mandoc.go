package tools

import (
	"context"
	"path/filepath"

	"vvufwd/cmd/internal/lab/apt"
)

// DebianMandoc unpacks mandoc, which checks manual pages, and returns how it is run. Of the options only BuildDir and Progress are
// looked at. What an earlier call unpacked is used as it is.
func DebianMandoc(ctx context.Context, o Options) ([]string, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := filepath.Abs(d.path("mandoc"))
	if err != nil {
		return nil, err
	}
	if _, complete := apt.Unpacked(dir); !complete {
		if err := d.fetchClosure(ctx, dir, guestRelease.suite, "mandoc", "mandoc"); err != nil {
			return nil, err
		}
	}
	return unpackedCommand(dir, "mandoc"), nil
}
