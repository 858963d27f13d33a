// Package vvu drives the virtio-vhost-user PCI device, which lets a virtual
// machine be the vhost-user back-end of another one. It has three lifetimes:
//
//	Device    the PCI function: registers, message queues, doorbells, the BAR
//	          with the other VM's memory. Lives until the machine takes it away, or
//	          the process ends.
//	Endpoint  the connect / disconnect / reconnect cycle with whatever front-end
//	          is at the other end of the device's socket. Lives as long as the
//	          process, with one Device after the other.
//	session   one front-end's rings and memory, from its first message until the
//	          device reports it gone.
//
// The device passes vhost-user messages through two virtqueues, so no file
// descriptor ever gets here. Three things stand for them: guest memory appears
// in a BAR, a store to a doorbell register interrupts the guest, and the guest's
// kick arrives as an MSI-X vector that is chosen by notification register.
//
// Whether to ring a doorbell follows from the state of the ring and nothing
// else. (DPDK's vvu transport asks whether it holds a file descriptor, which is
// never the case, and so forwards one way only.)
package vvu
