package virtiopci

import (
	"encoding/binary"
	"fmt"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

// Device is what the transport needs of a PCI function; *vfio.Device is one.
type Device interface {
	Address() pci.Address
	// ConfigBytes is a copy of the configuration space, at least 256 bytes.
	ConfigBytes() ([]byte, error)
	// BARSize is the size of a BAR in bytes, 0 when it does not exist.
	BARSize(i int) uint64
	BAR(i int) (mmio.Space, error)
	// Untranslated is whether the device is told guest-physical addresses, because no IOMMU is
	// between it and memory.
	Untranslated() bool
}

// Virtio's PCI device ids (4.1.2.1).
const (
	firstID       = 0x1000 // transitional devices
	firstModernID = virtio.ModernIDBase
	lastID        = 0x107f
)

// identify returns the virtio device id that a configuration space tells.
func identify(config []byte) (uint16, error) {
	vendor := binary.LittleEndian.Uint16(config[pci.OffsetVendor:])
	device := binary.LittleEndian.Uint16(config[pci.OffsetDevice:])
	switch {
	case vendor != virtio.PCIVendor || device < firstID || device > lastID:
		return 0, fmt.Errorf("is not a virtio device (id %04x:%04x)", vendor, device)
	case device < firstModernID:
		return binary.LittleEndian.Uint16(config[pci.OffsetSubDevice:]), nil
	default:
		return device - firstModernID, nil
	}
}
