package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// TestRefused boots driver VMs that are set up badly. Each says on one line what is wrong and what to do, with the exit code for a
// device that is not usable, and powers off.
func TestRefused(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	for name, c := range map[string]struct {
		iommu   machine.IOMMU
		modules *kmod.Tree
		nicOpts string
		args    string
		says    []string
	}{
		"the kernel has no no-IOMMU mode": {
			machine.None, found.Modules, "", "--noiommu", []string{"vvufwd: --noiommu: VFIO is not usable, the kernel has no no-IOMMU mode: ", "CONFIG_VFIO_NOIOMMU=y"},
		},
		"no IOMMU, and nobody has accepted that": {
			machine.None, found.BareModules, "", "", []string{"vvufwd: " + machine.NICAddress + ": ", "in no IOMMU group", "--noiommu"},
		},
		"no IOMMU and no huge pages": {
			machine.None, found.BareModules, "", "--noiommu --hugepages=0", []string{"vvufwd: no 2 MiB huge pages left; reserve some"},
		},
		"interrupts are not remapped": {
			machine.Virtio, found.NewerModules, "", "", []string{"vvufwd: " + machine.NICAddress + ": the IOMMU does not remap interrupts", "--allow-unsafe-interrupts"},
		},
		"a NIC that bypasses the IOMMU": {
			machine.Intel, found.Modules, "iommu_platform=off", "", []string{"vvufwd: " + machine.NICAddress + ": does not offer ACCESS_PLATFORM", "iommu_platform=on"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out := outDir(t)
			if err := os.MkdirAll(out, 0o755); err != nil {
				t.Fatal(err)
			}
			image, log := filepath.Join(out, "driver.cpio.gz"), filepath.Join(out, "driver.log")
			if _, err := (initramfs.Driver{Init: found.Vvufwd, Modules: c.modules}).Save(image); err != nil {
				t.Fatal(err)
			}
			kernel := found.Kernel
			if c.iommu == machine.Virtio {
				kernel = found.NewerKernel
			}
			d := machine.Driver{
				Boot:  machine.Boot{QEMU: found.QEMU, Kernel: kernel, Initrd: image, Accel: "tcg", SMP: 1, MemoryMiB: 256},
				IOMMU: c.iommu, NICOpts: c.nicOpts,
				InitArgs: append([]string{"--nic=" + machine.NICAddress, "--vhost-user=/a"}, strings.Fields(c.args)...),
			}
			p, err := vm.Start(vm.Config{Name: "driver VM", Argv: d.Argv(), Env: d.QEMU.Env, LogPath: log})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err := p.WaitExit(ctx, 4*time.Minute); err != nil {
				logTail(t, log)
				t.Fatal(err)
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			line := ""
			for l := range strings.Lines(string(text)) {
				if strings.HasPrefix(l, "vvufwd: ") && !strings.HasPrefix(l, "vvufwd: exit code") {
					line += l
				}
			}
			for _, says := range c.says {
				if !strings.Contains(line, says) {
					t.Errorf("%q does not say %q", line, says)
				}
			}
			if strings.Count(line, "\n") != 1 || !strings.Contains(string(text), "vvufwd: exit code 3") {
				t.Errorf("not one line and exit code 3:\n%s", text)
			}
		})
	}
}
