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
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		if text := show("--info", first, name); !strings.HasPrefix(text, "#!/bin/sh\nset -e\n") {
			t.Errorf("%s is %q", name, text)
		}
	}
	if _, own := p.Files["DEBIAN/control"]; own || len(p.Files) != 1 {
		t.Errorf("the caller's files have become %q", p.Files.Names())
	}
}

// The description says what each program is for.
func TestDescription(t *testing.T) {
	programs, err := filepath.Glob("../../../vvu*")
	if err != nil || len(programs) < 7 {
		t.Fatalf("the programs are %q: %v", programs, err)
	}
	control, err := os.ReadFile("control")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range programs {
		if name := filepath.Base(dir); !strings.Contains(string(control), " "+name+" ") {
			t.Errorf("control does not say what %s is for", name)
		}
	}
}

// What services were told is kept when the package is removed, and is gone when it is purged. Nothing of others goes.
func TestPurge(t *testing.T) {
	root := t.TempDir()
	const system = "etc/systemd/system/"
	own := []string{"etc/vvufwd/vvudev-app.conf", system + "multi-user.target.wants/vvudev@app.service", system + "multi-user.target.wants/vvufwd@app.service"}
	others := []string{"etc/vvufwd.conf", system + "multi-user.target.wants/other@app.service", system + "vvudev@app.service.d/override.conf", "var/lib/vvufwd-app/app.pcapng"}
	for _, name := range append(own, others...) {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	const empty = "var/lib/vvufwd-other"
	if err := os.Mkdir(filepath.Join(root, empty), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(script string, args ...string) {
		t.Helper()
		cmd := exec.Command("sh", append([]string{script}, args...)...)
		cmd.Env = append(os.Environ(), "DPKG_ROOT="+root)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s %q: %v: %s", script, args, err, out)
		}
	}
	are := func(there bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != there {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	run("postinst", "configure", "0~devel")
	run("prerm", "remove")
	run("postrm", "remove")
	are(true, append(append(own, empty), others...)...)
	run("postrm", "purge")
	are(false, append(own, "etc/vvufwd", empty)...)
	are(true, others...)
	run("postrm", "purge") // nothing is left of it
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
