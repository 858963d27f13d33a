package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
)

// TestNetworkBoot boots machines from the network, whose firmware drives the virtio-net device before Linux does: iPXE, as the
// device's option ROM, and OVMF, whose own driver fetches another iPXE. Kernel and RAM disk come through vvufwd, so they are right if
// Linux starts; it takes the device over and sends pings. The short form has iPXE only. OVMF's driver is one of legacy devices: no
// VERSION_1, and so a shorter header.
func TestNetworkBoot(t *testing.T) {
	l := newLab(t)
	firmware, err := tools.DebianFirmware(l.ctx, tools.Options{BuildDir: l.build, Progress: func(text string) { l.Log(text) }})
	l.must(err)
	kernel, initrd := l.tools.Kernel, l.image()
	script := "#!ipxe\nkernel tftp://10.0.0.1/kernel " + machine.Boot{}.CommandLine("ipv6.disable=1") + "\ninitrd tftp://10.0.0.1/initrd\nboot\n"
	for _, way := range []struct {
		name    string
		options func() []string
		files   []string // that the firmware fetches by itself
	}{
		{"iPXE", func() []string { return []string{"-device", netDevice} }, nil}, // QEMU has the ROM
		{"OVMF", func() []string {
			vars := filepath.Join(l.run, "vars.fd")
			l.must(os.WriteFile(vars, l.content(firmware.Vars), 0o600))
			return []string{
				"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + firmware.Code,
				"-drive", "if=pflash,unit=1,format=raw,file=" + vars, "-device", netDevice + ",romfile=", "-device", "virtio-rng-pci",
			}
		}, []string{"first.efi"}},
	} {
		if way.name == "OVMF" && testing.Short() {
			continue // a minute and a half
		}
		l.step(way.name, func(l *lab) {
			f := l.forward(l.socket("guest"), l.socket("net"))
			s := l.bootServer(l.socket("net"), map[string][]byte{
				"boot.ipxe": []byte(script), "kernel": l.content(kernel), "initrd": l.content(initrd), "first.efi": l.content(firmware.NetworkEFI),
			})
			argv := append(l.tools.AppQEMU.Command[:len(l.tools.AppQEMU.Command):len(l.tools.AppQEMU.Command)],
				"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm",
				"-smp", "1", "-m", "512M", "-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-machine", "q35,memory-backend=ram",
				"-chardev", "socket,id=vhost,path="+l.socket("guest"), "-netdev", "vhost-user,id=net,chardev=vhost")
			m, err := vm.Start(vm.Config{
				Name: way.name, Argv: append(argv, way.options()...), LogPath: filepath.Join(l.out, way.name+".log"),
			})
			l.must(err)
			l.atEnd(func() { m.Close() })
			app, _, err := guest.WaitReady(l.ctx, m, 2*bootLimit)
			if err != nil {
				l.Fatalf("%v; fetched: %v", err, s.stop())
			}
			l.must(app.Address(l.ctx, commandLimit, s.lease.Client.String()+"/24"))
			if got, err := app.Ping(l.ctx, commandLimit, s.lease.Server.String(), 3); err != nil || got.Received != 3 {
				l.Errorf("%d of 3 pings were answered, %v", got.Received, err)
			}
			l.must(app.PowerOff(l.ctx, stopLimit))
			l.must(s.stop())
			for _, name := range append(way.files, "boot.ipxe", "kernel", "initrd") {
				if !s.served[name] {
					l.Errorf("%s was not fetched to its end; only %v", name, s.served)
				}
			}
			f.mark = 0 // the firmware's negotiation, then Linux's
			first := l.expect(f, "features negotiated", l.socket("guest"), "PROTOCOL_FEATURES")
			if strings.Contains(first, "MRG_RXBUF") {
				l.Errorf("it was not the firmware that came first: %s", first)
			}
			l.expect(f, "features negotiated", l.socket("guest"), "MRG_RXBUF")
			l.stop(f)
		})
	}
}

// netDevice is the machine's network device, the first to boot from.
const netDevice = "virtio-net-pci,netdev=net,mac=52:54:00:00:01:02,bootindex=0"

func (l *lab) content(path string) []byte {
	l.Helper()
	b, err := os.ReadFile(path)
	l.must(err)
	return b
}
