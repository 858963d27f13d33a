package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// vsockPath is the socket at which cloud-hypervisor lets the host's programs in to its guest's ports of vsock.
const vsockPath = "vsock.sock"

// printCloudHypervisor writes the command line of a cloud-hypervisor for what QEMU has in d, or why there is none: it does not have all
// that vvufwd can be told to use, and vvufwd ends when it does not find a device.
func (o *options) printCloudHypervisor(out io.Writer, d machine.Driver) {
	hardware := slices.IndexFunc(d.Cards, func(c machine.Card) bool { return c.Kind.Hardware() })
	switch {
	case o.whole():
		fmt.Fprintln(out, "\n# cloud-hypervisor boots a kernel with an initramfs: make one with -o driver.cpio.gz for it.")
	case o.iommu != machine.None:
		fmt.Fprintln(out, "\n# cloud-hypervisor has no IOMMU for vfio-user devices: make an image with --iommu none for it.")
	case len(d.Serial) > 0:
		fmt.Fprintf(out, "\n# cloud-hypervisor has no virtio-serial ports with names, such as virtio-serial:%s: give vsock:PORT in --args for it.\n", d.Serial[0].Name)
	case hardware >= 0:
		fmt.Fprintf(out, "\n# cloud-hypervisor has no NIC of the kind %s: make an image for virtio-net for it.\n", d.Cards[hardware].Kind)
	default:
		fmt.Fprintln(out, "\n# cloud-hypervisor, not tried with vvufwd: --args must name the devices by where it puts them, see lspci.")
		if d.CID != 0 {
			fmt.Fprintf(out, "# Ports of vsock are behind %s, not at vsock:%d:PORT: who connects there says CONNECT PORT first.\n", vsockPath, d.CID)
		}
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
	if d.CID != 0 {
		argv = append(argv, "--vsock", fmt.Sprintf("cid=%d,socket=%s", d.CID, vsockPath))
	}
	if len(d.Sockets) > 0 {
		argv = append(argv, "--user-device")
		for _, socket := range d.Sockets {
			argv = append(argv, "socket="+socket)
		}
	}
	return append(argv, "--cmdline", "console=ttyS0 quiet panic=-1 -- "+strings.Join(o.words, " "))
}
