package e2e

import (
	"fmt"
	"testing"

	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// TestEndedByForce runs vvufwd as a command, for NICs that no IOMMU confines. Asked to stop at any
// moment after its start it gives them back; killed, the NICs are stopped before their memory goes
// back, and the next vvufwd can use both.
func TestEndedByForce(t *testing.T) {
	t.Parallel()
	found := findTools(t)
	const second = "0000:00:09.0"
	d := bootDriver(t, initramfs.Driver{Init: found.Vvufwd, Modules: found.BareModules, Busybox: found.Busybox}, machine.Driver{
		Boot: machine.Boot{QEMU: found.QEMU, Kernel: found.Kernel, SMP: 2}, IOMMU: machine.None,
	}, func(argv []string) []string {
		return append(argv, "-netdev", "user,id=second,ipv6=off", "-device", "e1000e,netdev=second,addr=9,romfile=")
	})
	mark := 0
	see := func(words ...string) {
		t.Helper()
		_, next, err := d.Expect(d.ctx, mark, bootLimit, fmt.Sprint(words), vm.Containing(words...))
		if err != nil {
			logTail(t, d.log)
			t.Fatal(err)
		}
		mark = next
	}
	do := func(command string) {
		t.Helper()
		if err := d.Send(command); err != nil {
			t.Fatal(err)
		}
	}
	see("@@ ready")
	do("echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode; echo 24 > /proc/sys/vm/nr_hugepages; cd /sys/bus/pci/devices")
	vvufwd := "/vvufwd --noiommu --bind --hugepages 24 --nic " + machine.NICAddress + " --nic " + second
	// Ended before its new program catches signals, it has the keeper give them back, soon after.
	const keeper = "its keeper is there"
	bound := "$(ls -d /sys/bus/pci/drivers/vfio-pci/0000:* 2>/dev/null | wc -l)"
	for _, delay := range []string{"0.02", "0.05", "0.1", "0.2", "0.4", "1", keeper, keeper, keeper} {
		wait := "sleep " + delay
		if delay == keeper { // soon after which vvufwd executes itself
			wait = "until grep -q keeper /proc/[0-9]*/cmdline; do :; done 2>/dev/null"
		}
		do(vvufwd + " & " + wait + "; kill -TERM $!; wait $!; while [ " + bound + ` != 0 ]; do sleep 0.1; done; echo "@@" after ` + delay)
		see("@@ after " + delay)
	}
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
