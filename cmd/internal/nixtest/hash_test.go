package nixtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// What "nix hash path" of Nix 2.26 says of the same tree.
func TestHash(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"a/b.txt": "hello, Nix\n", "a/empty": "", "run": "#!/bin/sh\n", "a.b": "12345678"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/b.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":        "sha256-BmnJLo1/oFvkMxJgN5rFJg/y3FqXOJPn9tR3bChHr7s=",
		"a":       "sha256-SZEP+eU5E8M9AQnxI4z4Bf1EzNbpj07Tl5NGtJP8Sy4=",
		"run":     "sha256-YoPBZoJg+QPRqJXAzWuCL6S2h2K7CxfO3vLTnZfiZVQ=",
		"link":    "sha256-tYdmkD15ZeUgtsLAPOVaxUnB9kBm0F9n0nnaeqsQjRw=",
		"a/b.txt": "sha256-rbj5IN4vWKMN2NrdTBjSoiu1qP4YH49G5edRbZS1hn8=",
	} {
		if got, err := Hash(filepath.Join(dir, path)); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", path, got, err, want)
		}
	}
	if _, err := Hash(filepath.Join(dir, "absent")); err == nil {
		t.Error("a hash of what does not exist")
	}
}

// TestVendorHash compares the hash in nix/programs.nix with what "go mod vendor" writes today.
func TestVendorHash(t *testing.T) {
	const file = "../../../nix/programs.nix"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`vendorHash = "(.*)";`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no vendorHash", file)
	}
	dir := filepath.Join(t.TempDir(), "vendor")
	cmd := exec.Command("go", "mod", "vendor", "-o", dir)
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	got, err := Hash(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(found[1]); got != want {
		t.Errorf("dependencies have changed: write vendorHash = %q; in nix/programs.nix, where it is %q", got, want)
	}
}
