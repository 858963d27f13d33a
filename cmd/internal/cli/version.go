package cli

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Version is the line that --version prints: the program, the version of the module
// or of the commit that it was built from (with "+dirty" for one that was changed
// since), the platform and the Go release.
func Version(program string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(program, info)
}

func describe(program string, info *debug.BuildInfo) string {
	version := info.Main.Version
	if version == "" {
		version = "(unknown build)"
	}
	words := []string{program, version}
	// A module version that was made from the commit names it; "(devel)" does not.
	if version == "(devel)" {
		words = append(words, commit(info.Settings)...)
	}
	words = append(words, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	return strings.Join(words, " ")
}

// commit is the revision that a build was made from, if that was recorded.
func commit(settings []debug.BuildSetting) []string {
	revision, dirty := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return nil
	}
	return []string{revision + dirty}
}
