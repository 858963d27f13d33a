// Package vfio drives PCI functions from user space through the kernel's VFIO.
//
// A Container is an address space for DMA; a process opens one, and all its
// devices share it. Container.Open opens a function that is bound to vfio-pci
// (package pci binds it) and gives a Device: its configuration space, its BARs as
// registers or as memory, its MSI-X vectors as eventfds.
//
//	container, err := vfio.OpenContainer(vfio.Config{})
//	...
//	defer container.Close()
//	device, err := container.Open(addr)
//	...
//	registers, err := device.BAR(0)
//	ring, err := container.Arena().Alloc(4096, 4096)
//
// Errors that the user of the program can fix are *pci.DeviceError: one line that
// names the device, what is wrong with it and what to do.
package vfio
