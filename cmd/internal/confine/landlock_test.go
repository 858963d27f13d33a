package confine

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRestrictionsOfVersions(t *testing.T) {
	for _, test := range []struct {
		abi  int
		want restrictions
	}{
		{0, restrictions{}},
		{1, restrictions{files: 1<<13 - 1}},
		{2, restrictions{files: 1<<14 - 1}},
		{3, restrictions{files: 1<<15 - 1}},
		{4, restrictions{files: 1<<15 - 1, network: 3}},
		{5, restrictions{files: 1<<16 - 1, network: 3}},
		{8, restrictions{files: 1<<16 - 1, network: 3, scopes: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}},
		{9, restrictions{files: 1<<17 - 1, network: 3, scopes: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}},
		{99, restrictions{files: 1<<17 - 1, network: 3, scopes: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}},
	} {
		if got := restrictionsOf(test.abi); got != test.want {
			t.Errorf("ABI %d: %+v, want %+v", test.abi, got, test.want)
		}
	}
}

func TestNearest(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                dir,
		dir + "/a":         dir + "/a",
		dir + "/a/b/c":     dir + "/a",
		dir + "/x":         dir,
		"/none/of/these":   "/",
		".":                ".",
		"none-of-these/at": ".",
	} {
		if got := nearest(path); got != want {
			t.Errorf("nearest(%s) = %s, want %s", path, got, want)
		}
	}
}
