package vfio

import (
	"errors"
	"fmt"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

// Mode is how the kernel confines a device, and with that how it is opened.
type Mode uint8

const (
	// Type1: the device's IOMMU group joins a container of VFIO. All kernels.
	Type1 Mode = iota
	// IOMMUFD: the device has a file of its own, and joins an address space of /dev/iommu.
	// Linux 6.6 and later, where they are built with it.
	IOMMUFD
	// NoIOMMU: nothing confines it. It reaches all of the machine's memory.
	NoIOMMU
)

func (m Mode) String() string {
	switch m {
	case Type1:
		return "type1"
	case IOMMUFD:
		return "iommufd"
	case NoIOMMU:
		return "no IOMMU"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// space is an address space for DMA, which all devices of a mode share. Safe for concurrent
// use.
type space interface {
	// open opens the files of a device, which becomes one of the space's.
	open(info pci.Info) (Files, error)
	// lend opens them for another process that has the same space, and keeps nothing.
	lend(info pci.Info) (Files, error)
	// adopt makes a device whose files were lent one of the space's, and reports whether all
	// mappings have to be made again. If it fails the files stay the caller's.
	adopt(files Files) (remap bool, err error)
	// leave releases the group that a device came with, when it was the last one of it.
	leave(files Files) error
	memory() *dma.Arena
	// close takes the memory from the devices, which are all closed, and ends the space.
	close() error
}

// checkPages refuses an IOMMU whose smallest pages are larger than what memory comes in.
func checkPages(smallest uint64) error {
	if smallest > dma.Alignment {
		return fmt.Errorf("the IOMMU maps pages of 0x%x bytes, more than the 0x%x that memory comes in", smallest, dma.Alignment)
	}
	return nil
}

// mapError explains why memory cannot be mapped for DMA.
func mapError(mem []byte, iova dma.IOVA, err error) error {
	if isENOMEM(err) {
		return fmt.Errorf("map %d bytes for DMA at %v: not enough memory may be locked; raise it (ulimit -l unlimited) "+
			"or run as root: %w", len(mem), iova, err)
	}
	return fmt.Errorf("map %d bytes for DMA at %v: %w", len(mem), iova, err)
}

// unmapError explains why a mapping does not go.
func unmapError(iova dma.IOVA, size, unmapped uint64, err error) error {
	if err != nil {
		return fmt.Errorf("unmap %d bytes of DMA at %v: %w", size, iova, err)
	}
	if unmapped != size {
		return fmt.Errorf("unmap %d bytes of DMA at %v: the kernel unmapped %d", size, iova, unmapped)
	}
	return nil
}

var errNoMemory = errors.New("vfio: map no memory for DMA")
