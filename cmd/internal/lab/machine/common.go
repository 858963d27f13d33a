package machine

import (
	"fmt"
	"strconv"
	"strings"
)

// Boot is what both virtual machines have in common.
type Boot struct {
	QEMU   QEMU
	Kernel string // file
	Initrd string // file
	// Image, when not empty, boots in place of Kernel and Initrd, which are in it, as is what the kernel is told: a program for UEFI if
	// Firmware is the UEFI's file, an ISO image if that is empty.
	Image, Firmware string
	// Accel is "tcg" or "kvm".
	Accel string
	// SMP is the number of virtual processors.
	SMP int
	// MemoryMiB is the size of the RAM.
	MemoryMiB int
}

// Argv is the command line of a machine that has nothing else, with what more is said to its kernel.
func (b Boot) Argv(kernelArgs ...string) []string {
	return append(b.argv(kernelArgs...), "-machine", "q35")
}

// argv begins a command line: no device but the serial console on standard input and output, and an end instead of a reboot.
func (b Boot) argv(kernelArgs ...string) []string {
	accel, cpu := "tcg,thread=multi", emulatedCPU(b.QEMU.Version)
	if b.Accel == "kvm" {
		accel, cpu = "kvm", "host"
	}
	args := append([]string(nil), b.QEMU.Command...)
	args = append(args,
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-accel", accel, "-cpu", cpu, "-smp", strconv.Itoa(b.SMP), "-m", fmt.Sprintf("%dM", b.MemoryMiB),
	)
	switch {
	case b.Image == "":
		return append(args, "-kernel", b.Kernel, "-initrd", b.Initrd, "-append", b.CommandLine(kernelArgs...))
	case b.Firmware != "":
		return append(args, "-bios", b.Firmware, "-kernel", b.Image)
	}
	return append(args, "-cdrom", b.Image)
}

// CommandLine is the kernel's, with what more is said to it. On a loaded host an emulated timer can be too late for the kernel's test
// of it, and the kernel panics then; under KVM Linux leaves the test out by itself (no_timer_check).
func (b Boot) CommandLine(more ...string) string {
	words := []string{"console=ttyS0", "quiet", "panic=-1", "no_timer_check"}
	if b.Accel != "kvm" {
		words = append(words, emulated...)
	}
	return strings.Join(append(words, more...), " ")
}

// emulated are words for the kernel of an emulated machine. The kernel's tests of its ciphers, and its counting of how often it can go
// round within a tick (lpj, of a processor of 2.5 GHz that ticks 250 times a second), take a sixth of the time until /init starts.
var emulated = []string{"cryptomgr.notests", "lpj=10000000"}

// emulatedCPU is a processor with all that QEMU can emulate, but for the promise that copying by single bytes is fast: programs, and
// above all the kernel, take it at its word then, and QEMU does copy single bytes. Downloads by the app VM take three times as long.
func emulatedCPU(v Version) string {
	if v.AtLeast(Version{6, 0}) {
		return "max,-erms,-fsrm"
	}
	return "max,-erms" // it may not know the other name
}
