package beside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
)

var role = Role{Name: "test", Environment: "VVUFWD_BESIDE_TEST"}

// TestMain is the process when Start runs the test program once more: it tells on its line what it was told, its group, and
// what is left of it after a signal.
func TestMain(m *testing.M) {
	if !role.Is() {
		os.Exit(m.Run())
	}
	if err := Begin(confine.Policy{}, false); err != nil {
		os.Exit(1)
	}
	lines, err := Lines(FirstFD, 1)
	if err != nil {
		os.Exit(1)
	}
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		unix.Kill(os.Getpid(), s)
	}
	fmt.Fprintf(lines[0], "%s %t", role.Told(), unix.Getpgrp() == os.Getpid())
	io.Copy(io.Discard, lines[0])
	os.Exit(0)
}

// The process has a group of its own, which is how a Ctrl-C does not reach it before it ignores that, and ends with
// the line.
func TestProcess(t *testing.T) {
	ours, theirs, err := NewLine()
	if err != nil {
		t.Fatal(err)
	}
	p, err := role.Start("a word", []*os.File{theirs})
	if err = errors.Join(err, theirs.Close()); err != nil {
		t.Fatal(err)
	}
	ours.SetDeadline(time.Now().Add(time.Minute))
	var text [64]byte
	n, err := ours.Read(text[:])
	if got := string(text[:n]); err != nil || got != "a word true" {
		t.Errorf("it says %q, %v", got, err)
	}
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	if state, err := p.Wait(); err != nil || !state.Success() {
		t.Errorf("%v, %v", state, err)
	}
}

func TestLineOfAnotherFile(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := LineOf(f); err == nil {
		t.Errorf("%v is a line", line)
	}
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file stays open: %v", err)
	}
	if line, err := Inherit("nothing"); line != nil || err != nil {
		t.Errorf("%v, %v", line, err)
	}
	if _, err := Lines(900, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v", err)
	}
}
