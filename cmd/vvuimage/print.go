package main

import (
	"fmt"
	"io"
	"strings"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// What the printed command lines have, for whoever runs them to change.
const (
	memoryMiB  = 256
	processors = 2
	guestCID   = 3 // the first that is free
)

// machine is the driver VM that the image is for, with notes for whoever runs it.
func (o *options) machine() (d machine.Driver, notes []string) {
	d = machine.Driver{
		Boot: machine.Boot{
			QEMU:   machine.QEMU{Command: []string{"qemu-system-x86_64"}, Version: machine.VfioUser},
			Kernel: o.kernel, Initrd: o.output, Accel: "kvm", SMP: processors, MemoryMiB: memoryMiB,
		},
		IOMMU: o.iommu, InitArgs: o.words,
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
	notes = o.place(&d)
	return d, notes
}

// print writes the command lines that boot the image.
func (o *options) print(out io.Writer) {
	d, notes := o.machine()
	served := ""
	if len(d.Sockets) > 0 {
		served = "; vvudev serves " + strings.Join(d.Sockets, ", ")
	}
	fmt.Fprintf(out, "# QEMU %v or later%s. Without KVM: -accel tcg -cpu max,-erms,-fsrm.\n", machine.VfioUser, served)
	for _, note := range notes {
		fmt.Fprintln(out, "# "+note)
	}
	fmt.Fprintln(out, shell.Command(nil, d.Argv()))
	o.printCloudHypervisor(out, d)
}
