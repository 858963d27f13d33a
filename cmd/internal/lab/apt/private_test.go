package apt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAcquireSettings(t *testing.T) {
	dump := `APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin";
Acquire "";
Acquire::http::Proxy "http://cache.example.org:3128";
Acquire::IndexTargets::deb::DEP-11::MetaKey "x";
Acquire::Languages:: "de";
Dir::State "var/lib/apt";
`
	want := "Acquire::http::Proxy \"http://cache.example.org:3128\";\n"
	if diff := cmp.Diff(want, acquireSettings(dump)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestCandidate(t *testing.T) {
	policy := "qemu-system-x86:\n  Installed: (none)\n  Candidate: 1:11.1.3+ds-1~bpo13+1\n  Version table:\n"
	if got := candidate(policy); got != "1:11.1.3+ds-1~bpo13+1" {
		t.Errorf("candidate = %q", got)
	}
	for _, none := range []string{"", "x:\n  Candidate: (none)\n"} {
		if got := candidate(none); got != "" {
			t.Errorf("candidate of %q = %q", none, got)
		}
	}
}

// makePackage builds a package of one file with the machine's own dpkg-deb.
func makePackage(t *testing.T, name string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for path, text := range map[string]string{
		"DEBIAN/control": "Package: " + name + "\nVersion: 1\nArchitecture: all\nMaintainer: no one <no one@example.org>\nDescription: test\n",
		"usr/" + name:    name,
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := root + ".deb"
	if _, err := runTool("dpkg-deb", "--build", root, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnpackIsWholeOrNothing(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "qemu")
	if _, complete := Unpacked(dir); complete {
		t.Error("a directory that does not exist is complete")
	}
	one, two := makePackage(t, "one"), makePackage(t, "two")
	broken := filepath.Join(t.TempDir(), "broken.deb")
	if err := os.WriteFile(broken, []byte("half a pack"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Unpack(ctx, dir, "sid", []string{one, broken})
	if err == nil || !strings.Contains(err.Error(), "broken.deb") {
		t.Errorf("a broken package gives %v", err)
	}
	if _, complete := Unpacked(dir); complete {
		t.Error("a failed unpacking is complete")
	}
	// The next run starts afresh: nothing of the failed one may be left.
	if err := Unpack(ctx, dir, "trixie-backports", []string{two}); err != nil {
		t.Fatal(err)
	}
	if release, complete := Unpacked(dir); !complete || release != "trixie-backports" {
		t.Errorf("Unpacked = %q, %v", release, complete)
	}
	if _, err := os.Stat(filepath.Join(dir, "usr", "one")); err == nil {
		t.Error("a file of the failed run is still there")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "usr", "two")); err != nil || string(text) != "two" {
		t.Errorf("unpacked file = %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stampName), []byte(`{"packages`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, complete := Unpacked(dir); complete {
		t.Error("a broken stamp counts as complete")
	}
}

// TestPrivateAptWithALocalArchive drives the machine's real apt against an archive in a directory: no network, no root, and the
// machine's own state is not touched.
func TestPrivateAptWithALocalArchive(t *testing.T) {
	ctx := context.Background()
	archive := t.TempDir()
	library := filepath.Base(makePackageIn(t, archive, "library", ""))
	program := filepath.Base(makePackageIn(t, archive, "program", "library"))
	single := filepath.Base(makePackageIn(t, archive, "single", ""))
	writeFlatIndex(t, archive)
	var progress []string
	source := Source{Types: []string{"deb"}, URIs: []string{"copy:" + archive}, Suites: []string{"./"}, Options: map[string]string{"Trusted": "yes"}}
	p, err := NewPrivate(ctx, filepath.Join(t.TempDir(), "state"), "amd64", source, func(line string) { progress = append(progress, line) })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(ctx); err != nil {
		t.Fatal(err)
	}
	if version, err := p.Candidate(ctx, "", "program"); err != nil || version != "1" {
		t.Errorf("candidate = %q, %v", version, err)
	}
	if version, err := p.Candidate(ctx, "", "absent"); err != nil || version != "" {
		t.Errorf("candidate of an unknown package = %q, %v", version, err)
	}
	if names, err := p.Depends(ctx, "program"); err != nil || !cmp.Equal(names, []string{"library"}) {
		t.Errorf("dependencies = %q, %v", names, err)
	}
	if file, err := p.Single(ctx, "library"); err != nil || filepath.Base(file) != library {
		t.Errorf("Single = %q, %v; want %s", file, err, library)
	}
	if _, err := p.Single(ctx, "absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("an unknown package gives %v", err)
	}
	files, err := p.Closure(ctx, "", "program")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	if diff := cmp.Diff([]string{library, program}, names); diff != "" {
		t.Errorf("package with dependencies (-want +got):\n%s", diff)
	}
	if files, err = p.Closure(ctx, "", "single", "program"); err != nil || len(files) != 3 || filepath.Base(files[2]) != single {
		t.Errorf("two packages with dependencies = %q, %v; want %s besides", files, err, single)
	}
}
