package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// TestEndedByForce runs vvufwd as a command, for NICs that no IOMMU confines, and kills it: the NICs
// are stopped before their memory goes back, and the next vvufwd can use both.
func TestEndedByForce(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out := outDir(t)
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	image, log := filepath.Join(out, "driver.cpio.gz"), filepath.Join(out, "driver.log")
	if _, err := (initramfs.Driver{Init: found.Vvufwd, Modules: found.BareModules, Busybox: found.Busybox}).Save(image); err != nil {
		t.Fatal(err)
	}
	const second = "0000:00:09.0"
	boot := machine.Boot{QEMU: found.QEMU, Kernel: found.Kernel, Initrd: image, Accel: "tcg", SMP: 2, MemoryMiB: 256}
	argv := append(machine.Driver{Boot: boot, IOMMU: machine.None}.Argv(),
		"-netdev", "user,id=second,ipv6=off", "-device", "e1000e,netdev=second,addr=9,romfile=")
	p, err := vm.Start(vm.Config{Name: "driver VM", Argv: argv, Env: boot.QEMU.Env, LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	mark := 0
	see := func(words ...string) {
		t.Helper()
		_, next, err := p.Expect(ctx, mark, 2*time.Minute, fmt.Sprint(words), containing(words...))
		if err != nil {
			logTail(t, log)
			t.Fatal(err)
		}
		mark = next
	}
	do := func(command string) {
		t.Helper()
		if err := p.Send(command); err != nil {
			t.Fatal(err)
		}
	}
	see("@@ ready")
	do("echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode; echo 24 > /proc/sys/vm/nr_hugepages; cd /sys/bus/pci/devices")
	vvufwd := "/vvufwd --noiommu --bind --hugepages 24 --nic " + machine.NICAddress + " --nic " + second
	// Of the command register bit 2 lets a device do DMA.
	state := `"$(for f in ` + machine.NICAddress + " " + second + `; do dd if=$f/config bs=1 skip=4 count=1 2>/dev/null | od -An -tu1; done | while read c; do echo -n $((c & 4)); done)"`
	huge := `$(grep HugePages_Free /proc/meminfo | tr -dc 0-9)`
	for range 2 {
		do(vvufwd + " & echo")
		see("confined: no privileges are left")
		do("echo @@ dma " + state + " huge " + huge)
		see("@@ dma 44 huge")
		do("kill -9 $!; wait $!; while [ " + huge + ` != 24 ]; do sleep 0.1; done; echo "@@" killed dma ` + state)
		see("@@ killed dma 00")
	}
}
