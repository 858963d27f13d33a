package release

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"vvufwd/cmd/internal/cli"
)

// build builds all commands for a processor into dir.
func (r Release) build(ctx context.Context, arch, dir string) error {
	args := []string{"build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", dir + string(filepath.Separator)}
	for _, c := range r.Commands {
		args = append(args, "./cmd/"+c)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.Source
	// No file of a module, nor what this machine prefers, changes what is built.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s: %w\n%s", arch, err, out)
	}
	return nil
}

// describe asks programs what they say of themselves. They must be for this machine.
func (r Release) describe(ctx context.Context, dir string) ([]cli.Description, error) {
	var all []cli.Description
	for _, c := range r.Commands {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, c), "--help=json").Output()
		var d cli.Description
		if err := errors.Join(err, json.Unmarshal(out, &d)); err != nil {
			return nil, fmt.Errorf("%s --help=json: %w", c, err)
		}
		if d.Program != c {
			return nil, fmt.Errorf("%s says that it is %q", c, d.Program)
		}
		all = append(all, d)
	}
	return all, nil
}

// origin is which version a program was built from, and when that was made.
func origin(program string) (version string, when time.Time, err error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "", when, err
	}
	when = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // no archive takes less
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if when, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return "", when, fmt.Errorf("%s: vcs.time: %w", program, err)
			}
		}
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || n < 0 {
			return "", when, fmt.Errorf("SOURCE_DATE_EPOCH %q: want seconds since 1970", epoch)
		}
		when = time.Unix(n, 0)
	}
	version = info.Main.Version
	if version == "" || version == "(devel)" { // built from no repository
		version = "devel"
	}
	return version, when.UTC(), nil
}

// here is this machine's processor.
const here = runtime.GOARCH
