// Package vfiouser is the server side of the vfio-user protocol: it gives a
// virtual machine monitor a PCI device that lives in another process. It knows
// PCI configuration space, regions, interrupts and DMA maps; what the device is
// good for it does not know.
//
// A Device describes its regions and answers accesses to them. A Server speaks
// with one client at a time over a UNIX stream socket and calls the Device. What
// the client shares with the device comes back as a Host: the guest's memory as a
// table of mapped files, and one eventfd for each MSI-X vector.
//
// The messages and their layout are those of the vfio-user specification in
// QEMU's documentation (docs/interop/vfio-user.rst), version 0.0; the structures
// inside them are those of <linux/vfio.h>. Only what a PCI device with MSI-X
// needs is implemented; everything else gets an error reply. Server-to-client
// messages (DMA_READ, DMA_WRITE) are never sent: memory that comes without a file
// descriptor is accepted and cannot be reached.
//
// The client is the driver VM's monitor. It is trusted to keep its memory files
// as long as they are, but every size, index and offset in its messages is
// bounded, and every descriptor that it sends is closed when its use ends.
package vfiouser
