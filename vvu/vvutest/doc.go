// Package vvutest has what a virtio-vhost-user driver meets, for tests in one
// process and without a virtual machine:
//
//	Fork     the device of the 2019 QEMU fork, written from the contract and with
//	         its quirks, as a PCI function of registers and memory
//	Monitor  a vfio-user device, vvudev's for example, as a PCI function
//	App      the app VM: RAM, the two rings of its network device and, over the
//	         device's socket, the front-end in its monitor
//	Wire     the other port of a forwarding pair, played by the test
//
// Fork and Monitor have the methods that vvu.PCIDevice and vvu.Allocator ask for;
// this package does not import vvu, so that vvu's own tests can use it.
package vvutest
