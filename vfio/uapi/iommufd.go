package uapi

import "structs"

// Requests to a device's own file, by which it joins an address space of iommufd
// (VFIO_DEVICE_CDEV, Linux 6.6).
const (
	deviceBindIOMMUFD = requestBase + 18 // VFIO_DEVICE_BIND_IOMMUFD, DeviceBind
	deviceAttachPT    = requestBase + 19 // VFIO_DEVICE_ATTACH_IOMMUFD_PT, DeviceAttach
)

// DeviceBind is struct vfio_device_bind_iommufd as of Linux 6.6; what newer ones add is
// optional.
type DeviceBind struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
	IOMMUFD int32  // file of /dev/iommu
	DevID   uint32 // the kernel stores what iommufd calls the device
}

// DeviceAttach is struct vfio_device_attach_iommufd_pt as of Linux 6.6.
type DeviceAttach struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
	PTID    uint32 // the address space; the kernel stores the page table that it chose
}

// Requests to /dev/iommu (<linux/iommufd.h>): _IO(';', 0x80+n).
const (
	ioasAlloc      = iommufdBase + 1 // IOMMU_IOAS_ALLOC, IOASAlloc
	ioasIOVARanges = iommufdBase + 4 // IOMMU_IOAS_IOVA_RANGES, IOASIOVARanges
	ioasMap        = iommufdBase + 5 // IOMMU_IOAS_MAP, IOASMap
	ioasUnmap      = iommufdBase + 6 // IOMMU_IOAS_UNMAP, IOASUnmap

	iommufdBase = ';'<<8 + 0x80
)

// IOASAlloc is struct iommu_ioas_alloc.
type IOASAlloc struct {
	_     structs.HostLayout
	Size  uint32 // of this structure, as in all that follow
	Flags uint32
	ID    uint32 // the kernel stores it
}

// IOASIOVARanges is struct iommu_ioas_iova_ranges.
type IOASIOVARanges struct {
	_         structs.HostLayout
	Size      uint32
	ID        uint32
	Count     uint32 // of ranges: room for, and what there are
	_         uint32
	Ranges    uint64 // process address of IOVARange structures
	Alignment uint64 // the kernel stores what addresses and sizes must be a multiple of
}

// Flags of IOASMap.
const (
	IOASMapFixedIOVA uint32 = 1 << 0 // IOMMU_IOAS_MAP_FIXED_IOVA
	IOASMapWriteable uint32 = 1 << 1 // IOMMU_IOAS_MAP_WRITEABLE: devices may write
	IOASMapReadable  uint32 = 1 << 2 // IOMMU_IOAS_MAP_READABLE: devices may read
)

// IOASMap is struct iommu_ioas_map.
type IOASMap struct {
	_      structs.HostLayout
	Size   uint32
	Flags  uint32
	ID     uint32
	_      uint32
	Vaddr  uint64 // process address
	Length uint64 // bytes
	IOVA   uint64
}

// IOASUnmap is struct iommu_ioas_unmap.
type IOASUnmap struct {
	_      structs.HostLayout
	Size   uint32
	ID     uint32
	IOVA   uint64
	Length uint64 // bytes; the kernel stores how many it unmapped
}
