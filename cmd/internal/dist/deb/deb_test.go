package deb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/dist/tree"
)

func TestPackage(t *testing.T) {
	files := make(tree.Tree)
	files.AddProgram("usr/bin/prog", []byte("#!/bin/sh\n"))
	p := Package{Version: "v1.2.3", Arch: "arm64", When: time.Unix(1700000000, 0), Files: files}
	dir := t.TempDir()
	first, second := filepath.Join(dir, p.Name()), filepath.Join(dir, "again.deb")
	if err := errors.Join(p.Save(context.Background(), first), p.Save(context.Background(), second)); err != nil {
		t.Fatal(err)
	}
	a, err := os.ReadFile(first)
	b, err2 := os.ReadFile(second)
	if err := errors.Join(err, err2); err != nil || !bytes.Equal(a, b) || len(a) == 0 {
		t.Errorf("the same files give other bytes: %v", err)
	}
	show := func(args ...string) string {
		out, err := exec.Command("dpkg-deb", args...).CombinedOutput()
		if err != nil {
			t.Errorf("dpkg-deb %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	for _, want := range []string{"Version: 1.2.3\n", "Architecture: arm64\n", "Installed-Size: "} {
		if text := show("--field", first); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	contents := show("--contents", first)
	for _, want := range []string{"-rwxr-xr-x root/root", "./usr/bin/prog\n", "./usr/share/doc/vvufwd/copyright\n", "./usr/share/doc/vvufwd/changelog.gz\n", "2023-11-14"} {
		if !strings.Contains(contents, want) {
			t.Errorf("no %q in\n%s", want, contents)
		}
	}
	if _, own := p.Files["DEBIAN/control"]; own || len(p.Files) != 1 {
		t.Errorf("the caller's files have become %q", p.Files.Names())
	}
}

// Debian's order of versions is that of the module's.
func TestVersion(t *testing.T) {
	ordered := []string{"v0.0.0-20260102030405-0123456789ab", "v0.0.0-20260102030406-0023456789ab", "v1.0.0-rc.1", "v1.0.0", "v1.0.1-0.20260102030405-0123456789ab", "v1.0.1-0.20260102030405-0123456789ab+dirty", "v1.0.1"}
	for i := range ordered[1:] {
		a, b := Version(ordered[i]), Version(ordered[i+1])
		if out, err := exec.Command("dpkg", "--compare-versions", a, "lt", b).CombinedOutput(); err != nil {
			t.Errorf("%s is not older than %s for dpkg: %v %s", a, b, err, out)
		}
	}
	if v := Version("devel"); v != "0~devel" {
		t.Error(v)
	}
}
