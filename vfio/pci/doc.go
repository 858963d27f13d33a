// Package pci knows PCI functions from the outside: their addresses, the
// capability list in their configuration space, and what sysfs tells about them
// and lets one change, above all which driver they are bound to.
package pci
