package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestUsageError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", Usagef("--size %d: %w", 3, fs.ErrInvalid))
	if !IsUsage(err) || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v is not known as a mistake in usage, or has lost its cause", err)
	}
	if got, want := err.Error(), "wrapped: --size 3: invalid argument"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if IsUsage(fs.ErrInvalid) || IsUsage(nil) {
		t.Error("other errors are taken for mistakes in usage")
	}
}

func TestVersion(t *testing.T) {
	platform := " " + runtime.GOOS + "/" + runtime.GOARCH + " " + runtime.Version()
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", nil, "prog v1.2.3"},
		{"v0.0.0-20260101000000-abc+dirty", revision, "prog v0.0.0-20260101000000-abc+dirty"},
		{"(devel)", revision, "prog (devel) abc+dirty"},
		{"(devel)", revision[:1], "prog (devel) abc"},
		{"(devel)", nil, "prog (devel)"},
		{"", nil, "prog (unknown build)"},
	} {
		info := &debug.BuildInfo{Settings: test.settings}
		info.Main.Version = test.version
		if got := describe("prog", info); got != test.want+platform {
			t.Errorf("%q, want %q", got, test.want+platform)
		}
	}
	if got := Version("prog"); len(got) <= len("prog"+platform) {
		t.Errorf("this test's own version is %q", got)
	}
}
