package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// driverVM is a driver VM without an app VM.
type driverVM struct {
	*vm.Process
	ctx context.Context // of the test, with a limit
	log string          // what its console shows
}

// bootDriver boots d, whose processor, memory and image it fills in, with QEMU's arguments as edit
// makes them. The machine ends with the test.
func bootDriver(t *testing.T, image initramfs.Driver, d machine.Driver, edit func(argv []string) []string) driverVM {
	t.Helper()
	out := outDir(t)
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	d.Initrd = filepath.Join(out, "driver.cpio.gz")
	if _, err := image.Save(d.Initrd); err != nil {
		t.Fatal(err)
	}
	return startDriver(t, d, edit)
}

// startDriver is bootDriver with an image that is there.
func startDriver(t *testing.T, d machine.Driver, edit func(argv []string) []string) driverVM {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	out := outDir(t)
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(out, "driver.log")
	d.Accel, d.MemoryMiB = "tcg", 256
	p, err := vm.Start(vm.Config{Name: "driver VM", Argv: edit(d.Argv()), LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return driverVM{p, ctx, log}
}
