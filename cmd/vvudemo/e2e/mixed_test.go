package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out := outDir(t)
			if err := os.MkdirAll(out, 0o755); err != nil {
				t.Fatal(err)
			}
			image, log := filepath.Join(out, "driver.cpio.gz"), filepath.Join(out, "driver.log")
			if _, err := (initramfs.Driver{Init: found.Vvufwd, Modules: found.BareModules}).Save(image); err != nil {
				t.Fatal(err)
			}
			d := machine.Driver{
				Boot:     machine.Boot{QEMU: found.QEMU, Kernel: found.Kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256},
				InitArgs: append(c.args, "--noiommu", "--nic="+machine.NICAddress, "--nic="+bypassing),
			}
			argv := append(d.Argv(),
				"-device", "pxb-pcie,id=pxb,bus_nr=16,bus=pcie.0,bypass_iommu=on",
				"-device", "pcie-root-port,id=rp,bus=pxb,chassis=1",
				"-netdev", "user,id=second,ipv6=off", "-device", "virtio-net-pci,netdev=second,bus=rp,disable-legacy=on,romfile=")
			for i := range argv {
				argv[i] = strings.Replace(argv[i], "intremap=on", c.remap, 1)
			}
			p, err := vm.Start(vm.Config{Name: "driver VM", Argv: argv, Env: d.QEMU.Env, LogPath: log})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for _, words := range c.lines {
				if _, _, err := p.Expect(ctx, 0, 2*time.Minute, words[0], containing(words...)); err != nil {
					logTail(t, log)
					t.Fatal(err)
				}
			}
			if len(c.args) > 0 { // it runs: Enter stops it
				if err := p.Send(""); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.WaitExit(ctx, time.Minute); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// containing matches lines with all the words in them.
func containing(words ...string) func(line string) bool {
	return func(line string) bool {
		for _, w := range words {
			if !strings.Contains(line, w) {
				return false
			}
		}
		return true
	}
}
