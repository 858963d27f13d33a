package main

import (
	"fmt"
	"io"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// printCloudHypervisor writes the command line of a cloud-hypervisor for what QEMU has in d, or why there is none.
func (o *options) printCloudHypervisor(out io.Writer, d machine.Driver) {
	switch {
	case o.whole():
		fmt.Fprintln(out, "\n# cloud-hypervisor boots a kernel with an initramfs: make one with -o driver.cpio.gz for it.")
	case o.iommu != machine.None:
		fmt.Fprintln(out, "\n# cloud-hypervisor has no IOMMU for vfio-user devices: make an image with --iommu none for it.")
	default:
		fmt.Fprintln(out, "\n# cloud-hypervisor, not tried with vvufwd: --args must name the devices by where it puts them, see lspci.")
		fmt.Fprintln(out, shell.Command(nil, o.cloudHypervisor(d)))
	}
}

func (o *options) cloudHypervisor(d machine.Driver) []string {
	argv := []string{
		"cloud-hypervisor", "--kernel", o.kernel, "--initramfs", o.output, "--cpus", fmt.Sprintf("boot=%d", processors),
		"--memory", fmt.Sprintf("size=%dM,shared=on", memoryMiB), "--serial", "tty", "--console", "off",
	}
	if len(d.Cards) > 0 {
		argv = append(argv, "--net")
		for _, card := range d.Cards {
			argv = append(argv, "tap="+card.Net.TAP)
		}
	}
	if len(d.Sockets) > 0 {
		argv = append(argv, "--user-device")
		for _, socket := range d.Sockets {
			argv = append(argv, "socket="+socket)
		}
	}
	return append(argv, "--cmdline", "console=ttyS0 quiet panic=-1 -- "+strings.Join(o.words, " "))
}
