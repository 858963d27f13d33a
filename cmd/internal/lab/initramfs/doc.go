// Package initramfs writes the two RAM disks of the demo: the driver VM, whose /init is vvufwd, and the app VM,
// whose /init is a busybox script that obeys commands on its console.
//
// The images are newc cpio archives under gzip. The same input gives the same bytes: entries are sorted, owned by
// root, and carry no time.
//
// No device node is written: every kernel that has no built-in initramfs of its own unpacks a tiny one with
// /dev/console in it before it unpacks this one.
package initramfs
