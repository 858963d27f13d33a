package e2e

import (
	"fmt"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
)

// memoryType checks which type the driver VM's kernel, by its own list, has given to what vvufwd has mapped of
// the first virtio-vhost-user device's BAR 4, which is the memory of an app VM.
func (l *lab) memoryType(driver *driverShell, want string) {
	l.Helper()
	driver.do(l, "[ -e /sys/kernel/debug/x86 ] || mount -t debugfs debugfs /sys/kernel/debug")
	start := driver.Mark()
	driver.do(l, `echo "@@" bar $(sed -n 5p /sys/bus/pci/devices/`+machine.VVUAddress(0)+`/resource)`)
	driver.mark = start
	var first, last, flags uint64
	line := driver.see(l, "@@ bar 0x")
	if _, err := fmt.Sscanf(line[strings.Index(line, "@@"):], "@@ bar %v %v %v", &first, &last, &flags); err != nil {
		l.Fatalf("%q does not say where BAR 4 is: %v", line, err)
	}
	if first < 4<<30 {
		l.Errorf("BAR 4 is at %#x, below 4 GiB", first)
	}
	start = driver.Mark()
	driver.do(l, "cat /sys/kernel/debug/x86/pat_memtype_list")
	driver.mark = start
	if line := driver.see(l, fmt.Sprintf("[mem %#016x-", first)); !strings.Contains(line, want) {
		l.Errorf("the kernel's list has %q, want %s", line, want)
	}
	// Whoever has /dev/mem open can reach all of the machine: no one has, once vvufwd is confined.
	start = driver.Mark()
	driver.do(l, `echo "@@" open $(ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c -- "-> /dev/mem") mapped $(cat /proc/[0-9]*/maps 2>/dev/null | grep -c " /dev/mem")`)
	driver.mark = start
	if line := driver.see(l, "@@ open "); !strings.HasSuffix(line, "@@ open 0 mapped 2") {
		l.Errorf("%q, want no descriptor of /dev/mem, and two mappings for two devices", line)
	}
}
