package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
)

// A file system of 8 MiB has room for a RAM file of that size, be it there already or not,
// and for no larger one. Files that are larger together are allowed, with a warning: no one
// may ever touch all of their memory.
func TestRoomForRAM(t *testing.T) {
	const size = 8 << 20
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("no tmpfs of a size of our own can be had: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "app.ram")
	check := func(n uint64) (warnings int, err error) {
		core, logs := observer.New(zapcore.WarnLevel)
		err = checkCreateRAM(options{ram: path, createRAM: cli.Size(n)}, zap.New(core))
		return logs.Len(), err
	}
	fits := func(what string, n uint64, wantWarnings int) {
		t.Helper()
		if warnings, err := check(n); err != nil || warnings != wantWarnings {
			t.Errorf("%s: %v with %d warnings, want %d", what, err, warnings, wantWarnings)
		}
	}
	tooLarge := func(what string, n uint64) {
		t.Helper()
		if _, err := check(n); err == nil || !strings.Contains(err.Error(), "--create-ram ") || !strings.Contains(err.Error(), dir+" has room for") {
			t.Errorf("%s: %v", what, err)
		}
	}
	fits("all of it", size, 0)
	tooLarge("more than all", size+4096)
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	fits("a file that has it all", size, 0)
	tooLarge("a file that would grow", size+4096)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	other, err := os.Create(filepath.Join(dir, "other.ram"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Truncate(size / 2); err != nil {
		t.Fatal(err)
	}
	fits("beside one that may take half", size/2, 0)
	fits("more than is left when that has it", size, 1)
	if _, err := other.Write(make([]byte, size/2)); err != nil {
		t.Fatal(err)
	}
	fits("beside one that has half", size/2, 0)
	tooLarge("more than is left", size)
}
