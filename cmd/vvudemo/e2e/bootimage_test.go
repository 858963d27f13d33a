package e2e

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
)

var allImages = flag.Bool("all-images", false, "boot ISO images, too, which takes GRUB's programs, by BIOS and UEFI, from a CD drive and from a disk")

// TestBootImages makes driver VMs' images that have the kernel and vvufwd's arguments in them, as a person does, and boots them: a
// unified kernel image by UEFI, and with -all-images ISO images. Each gets as far as forwarding, and powers off at an Enter.
func TestBootImages(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	options := tools.Options{BuildDir: filepath.Join(tools.SourceDir(), "build"), Progress: func(text string) { t.Log(text) }}
	firmware, err := tools.DebianFirmware(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	stub, err := tools.DebianStub(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "vvuimage")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, "vvufwd/cmd/vvuimage")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, way := range []struct {
		name, image, firmware string
		as                    []string // how the machine gets an ISO image, before its file
	}{
		{"UKI", "driver.efi", firmware.BIOS, nil},
		{"ISO by BIOS", "driver.iso", "", []string{"-cdrom", ""}},
		{"ISO by UEFI", "driver.iso", "", []string{"-bios", firmware.BIOS, "-cdrom", ""}},
		{"disk by BIOS", "driver.iso", "", []string{"-drive", "if=virtio,format=raw,file="}},
	} {
		if way.name != "UKI" && !*allImages {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			image := filepath.Join(t.TempDir(), way.image)
			save := exec.CommandContext(t.Context(), program, "--kernel", found.Kernel, "--modules", found.Modules.Dir, "--vvufwd", found.Vvufwd,
				"--args", "--nic="+machine.NICAddress+" --vhost-user=/app.sock", "-o", image)
			if way.name == "UKI" {
				save.Args = append(save.Args, "--stub", stub)
			}
			printed, err := save.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
			}
			d := machine.Driver{
				Boot:  machine.Boot{QEMU: found.QEMU, Image: image, Firmware: way.firmware, SMP: 1},
				IOMMU: machine.Intel,
			}
			if way.name == "UKI" && !strings.Contains(string(printed), "-kernel "+image) {
				t.Errorf("the command line that is printed has no image:\n%s", printed)
			}
			vm := startDriver(t, d, func(argv []string) []string {
				if i := slices.Index(argv, "-cdrom"); i >= 0 {
					argv = slices.Replace(argv, i, i+2, way.as...)
					argv[i+len(way.as)-1] += image
				}
				return argv
			})
			_, mark, err := vm.Expect(vm.ctx, 0, bootLimit, "vvufwd forwards", func(line string) bool { return strings.Contains(line, "waiting for a front-end") })
			if err == nil {
				err = vm.Send("")
			}
			if err == nil {
				_, _, err = vm.Expect(vm.ctx, mark, stopLimit, "vvufwd ends", func(line string) bool { return strings.Contains(line, "vvufwd: exit code 0") })
			}
			if err == nil {
				err = vm.WaitExit(vm.ctx, stopLimit)
			}
			if err != nil {
				logTail(t, vm.log)
				t.Fatal(err)
			}
			if text, err := os.ReadFile(vm.log); err != nil || !strings.Contains(string(text), machine.NICAddress) {
				t.Errorf("the arguments in the image are not vvufwd's: %v", err)
			}
		})
	}
}
