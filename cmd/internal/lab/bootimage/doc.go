// Package bootimage makes images that boot by themselves of a kernel, its initramfs and its command line: a program for UEFI (a
// unified kernel image, UKI), and an ISO image for a CD drive, a USB stick or a disk.
package bootimage
