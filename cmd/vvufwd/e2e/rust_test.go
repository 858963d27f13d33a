package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/tools"
)

// TestRustVMM joins two front-ends made with rust-vmm's vhost crate, which is cloud-hypervisor's, and keeps to its orders:
// testdata/rust-frontend says what they do to each other. vvufwd ends under them, well and badly, and is started again.
func TestRustVMM(t *testing.T) {
	l := newLab(t)
	program := l.rustFrontend()
	f := l.forward(l.socket("a"), l.socket("b"))
	cmd := exec.CommandContext(l.ctx, program, l.socket("a"), l.socket("b"))
	stdin, err := cmd.StdinPipe()
	l.must(err)
	stdout, err := cmd.StdoutPipe()
	l.must(err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	l.must(cmd.Start())
	var said []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() != "restart" {
			l.Log(lines.Text())
			continue
		}
		if len(said)%2 == 0 {
			l.must(f.Kill())
		} else {
			l.stop(f)
		}
		f = l.forward(l.socket("a"), l.socket("b"))
		_, err := io.WriteString(stdin, "go on\n")
		l.must(err)
	}
	if err := cmd.Wait(); err != nil {
		l.Fatalf("rust-frontend: %v: %safter %q", err, stderr.String(), said)
	}
	want := []string{"traffic", "pause and resume", "hot-plug", "reset", "sleep and wake", "restart", "restart", "restart", "reconnect", "done"}
	if !slices.Equal(said, want) {
		l.Errorf("it did %q, want %q", said, want)
	}
	l.stop(f)
}

// rustNeeded is the oldest Rust that can build the vhost crate of Debian 13. Debian 12's rustc is older; its rustc-web is not.
var rustNeeded = [2]int{1, 75}

// rustFrontend builds the program in testdata/rust-frontend with the machine's cargo, offline, from the crates in Debian's packages.
func (l *lab) rustFrontend() string {
	l.Helper()
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		l.Skip("there is no cargo in PATH: install Rust (on Debian 12 apt-get install cargo-web, on later ones cargo)")
	}
	var version [2]int
	out, err := exec.CommandContext(l.ctx, "rustc", "--version").Output()
	if err == nil {
		_, err = fmt.Sscanf(string(out), "rustc %d.%d", &version[0], &version[1])
	}
	if err != nil || slices.Compare(version[:], rustNeeded[:]) < 0 {
		l.Skipf("%q cannot build the vhost crate, which takes Rust %v or later (%v): on Debian 12 apt-get install cargo-web", strings.TrimSpace(string(out)), rustNeeded, err)
	}
	registry, err := tools.DebianCrates(l.ctx, tools.Options{BuildDir: l.build, Progress: func(text string) { l.Log(text) }}, "vhost")
	l.must(err)
	// Cargo writes its lock file beside the sources, which are not to change.
	dir := filepath.Join(l.build, "rust-frontend")
	source := filepath.Join(dir, "source")
	l.must(os.RemoveAll(source))
	l.must(os.CopyFS(source, os.DirFS(filepath.Join(filepath.Dir(l.build), "testdata", "rust-frontend"))))
	cmd := exec.CommandContext(l.ctx, cargo, "build", "--quiet", "--offline", "--target-dir", filepath.Join(dir, "target"),
		"--config", `source.crates-io.replace-with="debian"`, "--config", fmt.Sprintf("source.debian.directory=%q", registry))
	cmd.Dir = source
	cmd.Env = append(cmd.Environ(), "CARGO_HOME="+filepath.Join(dir, "home")) // the user's own settings may name other sources
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("build rust-frontend: %v\n%s", err, out)
	}
	return filepath.Join(dir, "target", "debug", "rust-frontend")
}
