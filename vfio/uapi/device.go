package uapi

import "structs"

// Requests to a device.
const (
	deviceGetInfo       = requestBase + 7  // VFIO_DEVICE_GET_INFO, DeviceInfo
	deviceGetRegionInfo = requestBase + 8  // VFIO_DEVICE_GET_REGION_INFO, RegionInfo
	deviceGetIRQInfo    = requestBase + 9  // VFIO_DEVICE_GET_IRQ_INFO, IRQInfo
	deviceSetIRQs       = requestBase + 10 // VFIO_DEVICE_SET_IRQS, IRQSet
	deviceReset         = requestBase + 11 // VFIO_DEVICE_RESET
)

// Flags of DeviceInfo.
const (
	DeviceReset uint32 = 1 << 0 // VFIO_DEVICE_FLAGS_RESET: can be reset
	DevicePCI   uint32 = 1 << 1 // VFIO_DEVICE_FLAGS_PCI
)

// DeviceInfo is struct vfio_device_info.
type DeviceInfo struct {
	_          structs.HostLayout
	ArgSize    uint32
	Flags      uint32
	NumRegions uint32
	NumIRQs    uint32
	CapOffset  uint32
}

// Regions of a PCI device (VFIO_PCI_*_REGION_INDEX). BAR i is region i.
const (
	PCIBAR0Region   = 0
	PCIBAR5Region   = 5
	PCIROMRegion    = 6
	PCIConfigRegion = 7
)

// Flags of RegionInfo.
const (
	RegionRead         uint32 = 1 << 0 // VFIO_REGION_INFO_FLAG_READ
	RegionWrite        uint32 = 1 << 1 // VFIO_REGION_INFO_FLAG_WRITE
	RegionMmap         uint32 = 1 << 2 // VFIO_REGION_INFO_FLAG_MMAP
	RegionCapabilities uint32 = 1 << 3 // VFIO_REGION_INFO_FLAG_CAPS
)

// RegionInfo is struct vfio_region_info.
type RegionInfo struct {
	_         structs.HostLayout
	ArgSize   uint32
	Flags     uint32
	Index     uint32
	CapOffset uint32
	Size      uint64 // bytes; 0: the region does not exist
	Offset    uint64 // of the region in the device's file
}

// Capabilities of a region.
const (
	RegionCapSparseMmap   = 1 // VFIO_REGION_INFO_CAP_SPARSE_MMAP
	RegionCapMSIXMappable = 3 // VFIO_REGION_INFO_CAP_MSIX_MAPPABLE
)

// SparseArea is struct vfio_region_sparse_mmap_area: a part of a region that can
// be mapped when the whole cannot.
type SparseArea struct {
	_      structs.HostLayout
	Offset uint64 // in the region
	Size   uint64 // bytes
}

// Interrupt kinds of a PCI device (VFIO_PCI_*_IRQ_INDEX).
const (
	PCIINTxIRQ = 0
	PCIMSIIRQ  = 1
	PCIMSIXIRQ = 2
	PCIReqIRQ  = 4 // the kernel wants the device back
)

// Flags of IRQInfo.
const (
	IRQEventfd  uint32 = 1 << 0 // VFIO_IRQ_INFO_EVENTFD
	IRQNoResize uint32 = 1 << 3 // VFIO_IRQ_INFO_NORESIZE: all vectors at once
)

// IRQInfo is struct vfio_irq_info.
type IRQInfo struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
	Index   uint32
	Count   uint32 // vectors
}

// Flags of IRQSet: one data type and one action.
const (
	IRQDataNone      uint32 = 1 << 0 // VFIO_IRQ_SET_DATA_NONE
	IRQDataEventfd   uint32 = 1 << 2 // VFIO_IRQ_SET_DATA_EVENTFD: data is int32 file descriptors
	IRQActionTrigger uint32 = 1 << 5 // VFIO_IRQ_SET_ACTION_TRIGGER
)

// IRQSet is struct vfio_irq_set without its data.
type IRQSet struct {
	_       structs.HostLayout
	ArgSize uint32 // with the data
	Flags   uint32
	Index   uint32
	Start   uint32
	Count   uint32
}
