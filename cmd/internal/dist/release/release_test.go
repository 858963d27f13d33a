package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/tools"
)

const source = "../../../.."

// One release, of three programs for this machine, has all that it should.
func TestRelease(t *testing.T) {
	r := Release{Source: source, Commands: []string{"vvufwd", "vvudev", "vvuimage"}, Archs: []string{here}}
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if err := r.Write(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	sums := read(t, filepath.Join(out, "SHA256SUMS"))
	files, err := os.ReadDir(out)
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	archive := ""
	for _, f := range files {
		if f.Name() == "SHA256SUMS" {
			continue
		}
		sum := sha256.Sum256([]byte(read(t, filepath.Join(out, f.Name()))))
		if !strings.Contains(sums, hex.EncodeToString(sum[:])+"  "+f.Name()+"\n") {
			t.Errorf("%s is not in\n%s", f.Name(), sums)
		}
		if strings.HasSuffix(f.Name(), ".tar.gz") {
			archive = filepath.Join(out, f.Name())
		}
	}
	contents := untar(t, archive)
	for _, name := range []string{
		"bin/vvufwd", "bin/vvuimage", "man/man1/vvuimage.1", "man/man7/vvufwd-switch.7", "completion/bash/vvufwd", "completion/zsh/_vvufwd",
		"completion/fish/vvufwd.fish", "systemd/vvudev@.service", "systemd/vvufwd@.service", "systemd/drop-in/pci.conf",
		"README.md", "cmd/vvufwd/help/install.md", "LICENSE", "driver.cpio.gz", "vvufwd.cdx.json",
	} {
		if len(contents[name]) == 0 {
			t.Errorf("the archive has no %s", name)
		}
	}
	if list := contents["vvufwd.cdx.json"]; !bytes.Contains(list, []byte(`"pkg:golang/go.uber.org/zap@v`)) || !bytes.Contains(list, []byte(`"2023-11-14T22:13:20Z"`)) {
		t.Errorf("the bill of materials lacks a module or its time:\n%s", list)
	}
	if !bytes.Contains(contents["man/man1/vvufwd.1"], []byte(`"2023-11-14"`)) {
		t.Error("a manual page has not the date of SOURCE_DATE_EPOCH")
	}
	lint(t, contents)
	verifyUnits(t, r, contents)
}

// lint has mandoc look at all manual pages.
func lint(t *testing.T, contents map[string][]byte) {
	mandoc, err := tools.DebianProgram(context.Background(), tools.Options{BuildDir: filepath.Join(source, "build"), Progress: func(text string) { t.Log(text) }}, "mandoc")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := append(mandoc[1:], "-T", "lint", "-W", "warning")
	for name, text := range contents {
		if strings.HasPrefix(name, "man/") {
			file := filepath.Join(dir, filepath.Base(name))
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, file)
		}
	}
	if out, err := exec.Command(mandoc[0], args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	broken := filepath.Join(dir, "broken.1")
	if err := os.WriteFile(broken, []byte(".TH X 1\n.NOSUCH\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mandoc[0], append(mandoc[1:], "-T", "lint", "-W", "warning", broken)...).CombinedOutput(); err == nil {
		t.Errorf("mandoc finds nothing wrong: %s", out)
	}
}

// verifyUnits checks that units start programs that are there, with flags that they have, as do the examples of their settings.
func verifyUnits(t *testing.T, r Release, contents map[string][]byte) {
	dir := t.TempDir()
	for _, c := range r.Commands {
		if err := os.WriteFile(filepath.Join(dir, c), contents["bin/"+c], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	programs, err := r.describe(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	verified := 0
	for _, d := range programs {
		unit, has := contents["systemd/"+d.Program+"@.service"]
		if !has {
			continue
		}
		verified++
		for _, wrong := range wrongInUnit(d, string(unit), string(contents["systemd/"+d.Program+"-example.conf"])) {
			t.Errorf("%s: %s", d.Program, wrong)
		}
	}
	if verified != 2 {
		t.Errorf("%d units were verified, want those of vvudev and vvufwd", verified)
	}
}

func untar(t *testing.T, file string) map[string][]byte {
	t.Helper()
	zipped, err := gzip.NewReader(strings.NewReader(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	contents := make(map[string][]byte)
	for in := tar.NewReader(zipped); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return contents
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if contents[name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Times are as SOURCE_DATE_EPOCH says, which must be a time.
func TestOrigin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if version, when, err := origin(self); err != nil || version == "" || fmt.Sprint(when) != "2023-11-14 22:13:20 +0000 UTC" {
		t.Errorf("%s, %v, %v", version, when, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, _, err := origin(self); err == nil {
		t.Error("a wrong SOURCE_DATE_EPOCH is taken")
	}
}
