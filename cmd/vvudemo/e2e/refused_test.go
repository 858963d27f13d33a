package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
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
		"no IOMMU, and no one has accepted that": {
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
			kernel := found.Kernel
			if c.iommu == machine.Virtio {
				kernel = found.NewerKernel
			}
			d := bootDriver(t, initramfs.Driver{Init: found.Vvufwd, Modules: c.modules}, machine.Driver{
				Boot:  machine.Boot{QEMU: found.QEMU, Kernel: kernel, SMP: 1},
				IOMMU: c.iommu, NICOpts: c.nicOpts,
				InitArgs: append([]string{"--nic=" + machine.NICAddress, "--vhost-user=/a"}, strings.Fields(c.args)...),
			}, slices.Clone)
			if err := d.WaitExit(d.ctx, bootLimit); err != nil {
				logTail(t, d.log)
				t.Fatal(err)
			}
			text, err := os.ReadFile(d.log)
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
