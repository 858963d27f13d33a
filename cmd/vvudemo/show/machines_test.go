package show

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

// The README boots build/demo/driver.cpio.gz by hand, with the kernel beside it: always the one whose modules that has.
func TestKernelIsLeftBesideItsRAMDisk(t *testing.T) {
	dir := t.TempDir()
	init := filepath.Join(dir, "vvufwd")
	if err := os.WriteFile(init, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDemo(Config{Tools: &tools.Tools{Modules: &kmod.Tree{}}, OutDir: dir, NIC: machine.VirtioNet, Progress: t.Output()}, func(error) {}, time.Now())
	for _, kernel := range []string{"/boot/first", "/elsewhere/second"} {
		size, err := d.saveDriver(initramfs.Driver{Init: init}, kernel)
		if err != nil || size == 0 {
			t.Fatal(size, err)
		}
		if to, err := os.Readlink(filepath.Join(dir, "vmlinuz")); err != nil || to != kernel {
			t.Errorf("the RAM disk is for %s, and beside it is %q (%v)", kernel, to, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "driver.cpio.gz")); err != nil {
			t.Error(err)
		}
	}
}
