package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"vvufwd/cmd/internal/lab/tools"
)

// nix is a Nix with a store of its own, and what the stub of nixpkgs is made of.
type nix struct {
	begin func(command string) []string
	root  string // of the source tree
	dir   string // of the store and what belongs to it
	host  string // JSON: what nix/stub is told of the machine
}

// withNix starts one for all tests of this package; the last test that uses it takes it away.
var withNix = sync.OnceValues(prepare)

func open(t *testing.T) *nix {
	t.Helper()
	n, err := withNix()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMain(m *testing.M) {
	code := m.Run()
	if n, err := withNix(); err == nil {
		n.remove()
	}
	os.Exit(code)
}

func prepare() (*nix, error) {
	root := tools.SourceDir()
	if root == "" {
		return nil, fmt.Errorf("the test does not run in the source tree")
	}
	ctx := context.Background()
	o := tools.Options{BuildDir: filepath.Join(root, "build"), SourceDir: root, NeedVfioUser: true, NeedNewer: true, Progress: func(text string) { fmt.Println(text) }}
	found, err := tools.Find(ctx, o)
	if err != nil {
		return nil, err
	}
	begin, err := tools.DebianNix(ctx, o)
	if err != nil {
		return nil, err
	}
	host, err := describe(found)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vvufwd-nix-")
	if err != nil {
		return nil, err
	}
	n := &nix{begin: begin, root: root, dir: dir, host: host}
	for _, sub := range []string{"store", "state", "log", "conf"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return n, os.WriteFile(filepath.Join(dir, "conf", "nix.conf"), []byte("build-users-group =\nsubstituters =\nsandbox = false\n"), 0o644)
}

// describe is what the stub has to know.
func describe(found *tools.Tools) (string, error) {
	caches, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return "", err
	}
	lines := strings.Fields(string(caches))
	compiler, err := exec.LookPath("go")
	if err != nil {
		return "", err
	}
	qemu := "#!/bin/sh\nexec '" + strings.Join(found.QEMU.Command, "' '") + "' \"$@\"\n"
	config := func(image, release string) string { return filepath.Join(filepath.Dir(image), "config-"+release) }
	text, err := json.Marshal(map[string]string{
		"go": compiler, "goModCache": lines[0], "goCache": lines[1],
		"busybox": found.Busybox, "qemu": qemu,
		"kernel": found.Kernel, "kernelModules": filepath.Dir(found.Modules.Dir),
		"kernelConfig": config(found.Kernel, found.Modules.Release), "newerConfig": config(found.NewerKernel, found.NewerModules.Release),
	})
	return string(text), err
}

// remove removes the store, in which nothing can be written to.
func (n *nix) remove() {
	filepath.WalkDir(n.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	os.RemoveAll(n.dir)
}

// Expressions.
const (
	// packages is the stub of nixpkgs.
	packages = `import ./nix/stub (builtins.fromJSON (builtins.getEnv "VVUFWD_NIX_HOST"))`
	// debianKernel gives both VMs a kernel that can be had without compiling one.
	debianKernel = `(` + packages + `).linux`
)

// run runs one of Nix's commands in the source tree. What it prints is in the error, too.
func (n *nix) run(t *testing.T, command string, args ...string) (string, error) {
	t.Helper()
	words := append(slices.Concat(n.begin(command), []string{"--option", "build-hook", ""}), args...)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir = n.root
	cmd.Env = append(os.Environ(), "VVUFWD_NIX_HOST="+n.host, "NIX_STORE_DIR="+n.dir+"/store", "NIX_STATE_DIR="+n.dir+"/state",
		"NIX_LOG_DIR="+n.dir+"/log", "NIX_CONF_DIR="+n.dir+"/conf", "NIX_PATH=", "NIX_REMOTE=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", command, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// build builds attributes as a person would, and returns what each has become.
func (n *nix) build(t *testing.T, kernel string, attributes ...string) (map[string]string, error) {
	t.Helper()
	args := []string{"nix", "--no-out-link", "--arg", "pkgs", packages, "--arg", "kernel", kernel, "--arg", "qemuFork", "(" + packages + ").qemu_kvm"}
	for _, a := range attributes {
		args = append(args, "-A", a)
	}
	out, err := n.run(t, "nix-build", args...)
	if err != nil {
		return nil, err
	}
	paths := strings.Fields(out)
	if len(paths) != len(attributes) {
		return nil, fmt.Errorf("%d attributes gave %q", len(attributes), paths)
	}
	built := make(map[string]string)
	for i, a := range attributes {
		built[a] = paths[i]
	}
	return built, nil
}

// evaluate gives the value of an expression, in which pkgs is the stub.
func (n *nix) evaluate(t *testing.T, into any, expression string) error {
	t.Helper()
	out, err := n.run(t, "nix-instantiate", "--eval", "--strict", "--json", "--expr", "let pkgs = "+packages+"; in "+expression)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}
