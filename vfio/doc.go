// Package vfio drives PCI functions from user space through the kernel's VFIO.
//
// A process opens one Container, and all its devices share an address space for DMA.
// Container.Open opens a function that is bound to vfio-pci (package pci binds it) and gives
// a Device: its configuration space, its BARs as registers or as memory, its MSI-X vectors
// as eventfds, and the memory that it can reach.
//
// There are three kinds of address spaces, see Mode: a container of IOMMU groups (type1),
// iommufd where kernel and device have it, and none at all, for devices without an IOMMU
// (Bare), which are told where memory lies.
//
//	container, err := vfio.OpenContainer(vfio.Config{})
//	...
//	defer container.Close()
//	device, err := container.Open(addr)
//	...
//	registers, err := device.BAR(0)
//	ring, err := device.Arena().Alloc(4096, 4096)
//
// Errors that the user of the program can fix are *pci.DeviceError: one line that
// names the device, what is wrong with it and what to do.
package vfio
