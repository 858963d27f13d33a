package apt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrNoArchive is returned when the machine's apt sources name no Debian archive.
var ErrNoArchive = errors.New("the machine's apt sources name no Debian archive")

// debianSuites are the names under which a machine can follow Debian itself. An entry of one of them is on the main archive,
// which holds every other one too.
var debianSuites = []string{
	"bookworm", "trixie", "forky", "duke", "sid",
	"oldstable", "stable", "testing", "unstable",
}

// PickArchive finds the entry of the Debian archive: an enabled source of binary packages with a Debian suite and the component
// main, that is not one of the side archives (security, debug symbols, ports).
func PickArchive(sources []Source) (Source, error) {
	for _, s := range sources {
		if s.Disabled || !slices.Contains(s.Types, "deb") || !slices.Contains(s.Components, "main") {
			continue
		}
		if !slices.ContainsFunc(s.Suites, func(suite string) bool { return slices.Contains(debianSuites, suite) }) {
			continue
		}
		for _, uri := range s.URIs {
			if isMainArchive(uri) {
				s.URIs = []string{uri}
				return s, nil
			}
		}
	}
	return Source{}, fmt.Errorf("%w (an enabled deb entry with a suite such as bookworm and the component main)", ErrNoArchive)
}

// isMainArchive tells Debian's archive from others by its address. Every mirror keeps "debian" in the path.
func isMainArchive(uri string) bool {
	uri = strings.ToLower(uri)
	if strings.HasPrefix(uri, "cdrom:") || !strings.Contains(uri, "debian") {
		return false
	}
	for _, side := range []string{"security", "debug", "ports", "backports"} {
		if strings.Contains(uri, side) {
			return false
		}
	}
	return true
}

// WithSuites returns the same archive, trusted in the same way, with other suites.
func (s Source) WithSuites(suites ...string) Source {
	s.Types = []string{"deb"}
	s.URIs = slices.Clone(s.URIs)
	for i, uri := range s.URIs {
		if path, local := strings.CutPrefix(uri, "file:"); local {
			s.URIs[i] = "copy:" + path // else apt uses the packages where they are, and we find none in its cache
		}
	}
	s.Suites = suites
	s.Components = []string{"main"}
	s.Options = maps.Clone(s.Options)
	for _, name := range []string{"Architectures", "Languages", "Targets", "Pdiffs", "Inrelease-Path", "Snapshot"} {
		delete(s.Options, name)
	}
	return s
}
