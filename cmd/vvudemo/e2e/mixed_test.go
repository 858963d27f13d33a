package e2e

import (
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// TestMixed boots a driver VM whose IOMMU confines one of its NICs, and not the other, which is
// behind a host bridge that bypasses it. With interrupt remapping the other gets no interrupts:
// that is said on one line, and the VM powers off.
func TestMixed(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	const bypassing = "0000:11:00.0"
	for name, c := range map[string]struct {
		remap string
		args  []string
		lines [][]string
	}{
		"without interrupt remapping": {"intremap=off", []string{"--allow-unsafe-interrupts"}, [][]string{
			{"NO IOMMU confines these functions", `["` + bypassing + `"]`},
			{"a function is open", machine.NICAddress, "type1"},
			{"a function is open", bypassing, "no IOMMU"},
			{"forwarding", machine.NICAddress, bypassing},
			{"confined: no privileges are left"},
		}},
		"with interrupt remapping": {"intremap=on", nil, [][]string{
			{"a function is open", bypassing, "no IOMMU"},
			{"vvufwd: " + bypassing, "MSI-X", "intremap=off"},
			{"vvufwd: exit code 1"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := bootDriver(t, initramfs.Driver{Init: found.Vvufwd, Modules: found.BareModules}, machine.Driver{
				Boot:     machine.Boot{QEMU: found.QEMU, Kernel: found.Kernel, SMP: 2},
				InitArgs: append(c.args, "--noiommu", "--nic="+machine.NICAddress, "--nic="+bypassing),
			}, func(argv []string) []string {
				argv = append(argv,
					"-device", "pxb-pcie,id=pxb,bus_nr=16,bus=pcie.0,bypass_iommu=on",
					"-device", "pcie-root-port,id=rp,bus=pxb,chassis=1",
					"-netdev", "user,id=second,ipv6=off", "-device", "virtio-net-pci,netdev=second,bus=rp,disable-legacy=on,romfile=")
				for i := range argv {
					argv[i] = strings.Replace(argv[i], "intremap=on", c.remap, 1)
				}
				return argv
			})
			for _, words := range c.lines {
				if _, _, err := d.Expect(d.ctx, 0, bootLimit, words[0], vm.Containing(words...)); err != nil {
					logTail(t, d.log)
					t.Fatal(err)
				}
			}
			if len(c.args) > 0 { // it runs: Enter stops it
				if err := d.Send(""); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.WaitExit(d.ctx, stopLimit); err != nil {
				t.Fatal(err)
			}
		})
	}
}
