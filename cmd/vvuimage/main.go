// Vvuimage makes the initramfs of a driver VM for any kernel: a machine whose only program is vvufwd.
//
// Synopsis:
//
//	vvuimage --kernel FILE [--modules DIR] [--nic-modules NAMES] [--firmware DIR] [--add FILE[:PATH]]… [--args WORDS] -o FILE
//
// Description:
//
// The image has vvufwd as /init and the kernel's modules for VFIO with all that they depend on, decompressed, whether the
// distribution has them as .ko, .ko.gz, .ko.xz or .ko.zst. The kernel itself is not part of it. Its release is read from its image,
// its modules are looked for in lib/modules and usr/lib/modules beside the boot directory that it is in, as in a package that was only
// unpacked, and in /lib/modules, and its configuration beside the image, as config-RELEASE, in the module directory, or in the image. The same input gives the same bytes, and what is written is written whole or not at all.
//
// A kernel that lacks what the arguments of vvufwd need is refused, with the options that it should have been built with.
//
// vvufwd itself checks its arguments, before anything is written.
//
// vvufwd as /init takes its arguments from the kernel's command line, so those of --args do not become part of the image, but of the
// command lines that vvuimage prints: of a QEMU, and of cloud-hypervisor, that boot it. What they need besides is in the image, such as
// modules for kinds of interfaces, and among the machine's devices, such as a virtio-serial port for a capture. QEMU's has a device for
// each port that they name, of the kind and at the PCI address that it names, such as --port igb:0000:00:06.0; lines that begin with #
// say what cannot be there.
//
//	vvuimage --kernel /boot/vmlinuz-6.12.0-amd64 --nic-modules e1000e --args "--vvu 0000:00:05.0 --nic eth0" -o driver.cpio.gz
//
// An output that ends in .efi is a unified kernel image: one program for UEFI, made of systemd's stub, that has kernel, initramfs and
// command line in it. One that ends in .iso boots from a CD drive, a USB stick or a disk, by BIOS or UEFI, and is made by
// grub-mkrescue. Both have the arguments of --args in them.
//
// The command lines go to standard output, all else to standard error.
//
// Exit status: 0 done, 1 for a failure while writing, 2 for wrong usage, 3 for a file that cannot be used, a kernel that lacks
// something among them.
package main

import (
	"os"

	"vvufwd/cmd/internal/cli"
)

func main() { os.Exit(cli.Main("vvuimage", run)) }
