// Package virtionic drives a virtio-net device (1.3, 5.1) on the PCI bus through VFIO: Open
// gives a Device, whose queue pairs are those of package driver. Frames lie in DMA buffers of our own.
package virtionic
