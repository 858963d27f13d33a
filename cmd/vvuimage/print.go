package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// What the printed command lines have, for whoever runs them to change.
const (
	memoryMiB  = 256
	processors = 2
	tapName    = "tap0"
	guestCID   = 3 // the first that is free
)

// machine is the driver VM that the image is for.
func (o *options) machine() machine.Driver {
	nic := machine.VirtioNet
	for _, kind := range machine.NICs {
		if kind.Hardware() && slices.Contains(o.nicModules, string(kind)) {
			nic = kind
		}
	}
	d := machine.Driver{
		Boot: machine.Boot{
			QEMU:   machine.QEMU{Command: []string{"qemu-system-x86_64"}, Version: machine.VfioUser},
			Kernel: o.kernel, Initrd: o.output, Accel: "kvm", SMP: processors, MemoryMiB: memoryMiB,
		},
		IOMMU: o.iommu, Sockets: o.sockets(), Net: machine.Backend{TAP: tapName}, NIC: nic, InitArgs: o.words,
	}
	serial, vsock := o.words.channels()
	for _, name := range serial {
		d.Serial = append(d.Serial, machine.SerialPort{Name: name, Socket: name + ".sock"})
	}
	if vsock {
		d.CID = guestCID
	}
	if o.whole() {
		d.Image = o.output
	}
	if o.kind() == asUKI {
		d.Firmware = ovmfFirmware
	}
	return d
}

// print writes the command lines that boot the image.
func (o *options) print(out io.Writer) {
	d := o.machine()
	fmt.Fprintf(out, "# QEMU %v or later; vvudev serves %s. Without KVM: -accel tcg -cpu max,-erms,-fsrm.\n%s\n", machine.VfioUser, strings.Join(d.Sockets, ", "), shell.Command(nil, d.Argv()))
	if o.whole() {
		fmt.Fprintln(out, "\n# cloud-hypervisor boots a kernel with an initramfs: make one with -o driver.cpio.gz for it.")
		return
	}
	if o.iommu != machine.None {
		fmt.Fprintln(out, "\n# cloud-hypervisor has no IOMMU for vfio-user devices: make an image with --iommu none for it.")
		return
	}
	fmt.Fprintf(out, "\n# cloud-hypervisor, not tried with vvufwd: --args must name the devices by where it puts them, see lspci.\n%s\n", shell.Command(nil, o.cloudHypervisor(d.Sockets)))
}

// sockets are those of vvudev, one for each app VM's device.
func (o *options) sockets() []string {
	sockets := []string{"/tmp/vvu.sock"}
	count := len(o.words.values("vvu"))
	for _, value := range o.words.values("port") {
		if strings.HasPrefix(value, "vvu:") {
			count++
		}
	}
	for i := 1; i < min(count, machine.MaxAppVMs); i++ {
		sockets = append(sockets, fmt.Sprintf("/tmp/vvu%d.sock", i))
	}
	return sockets
}

func (o *options) cloudHypervisor(sockets []string) []string {
	argv := []string{
		"cloud-hypervisor", "--kernel", o.kernel, "--initramfs", o.output, "--cpus", fmt.Sprintf("boot=%d", processors),
		"--memory", fmt.Sprintf("size=%dM,shared=on", memoryMiB), "--serial", "tty", "--console", "off",
		"--net", "tap=" + tapName, "--user-device",
	}
	for _, socket := range sockets {
		argv = append(argv, "socket="+socket)
	}
	return append(argv, "--cmdline", "console=ttyS0 quiet panic=-1 -- "+strings.Join(o.words, " "))
}
