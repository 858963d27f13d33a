package uapi

import "structs"

// APIVersion is the only value that Calls.APIVersion may give (VFIO_API_VERSION).
const APIVersion = 0

// IOMMU models, for Calls.CheckExtension and Calls.SetIOMMU.
const (
	Type1IOMMU   = 1 // VFIO_TYPE1_IOMMU
	Type1v2IOMMU = 3 // VFIO_TYPE1v2_IOMMU
	NoIOMMU      = 8 // VFIO_NOIOMMU_IOMMU: nothing is translated, nor checked
)

// Requests to a container: _IO(';', 100+n) throughout, so no size is encoded.
const (
	getAPIVersion  = requestBase + 0  // VFIO_GET_API_VERSION
	checkExtension = requestBase + 1  // VFIO_CHECK_EXTENSION, int
	setIOMMU       = requestBase + 2  // VFIO_SET_IOMMU, int
	iommuGetInfo   = requestBase + 12 // VFIO_IOMMU_GET_INFO, IOMMUInfo
	iommuMapDMA    = requestBase + 13 // VFIO_IOMMU_MAP_DMA, DMAMap
	iommuUnmapDMA  = requestBase + 14 // VFIO_IOMMU_UNMAP_DMA, DMAUnmap

	requestBase = ';'<<8 + 100
)

// Flags of IOMMUInfo.
const (
	IOMMUInfoPageSizes    uint32 = 1 << 0 // VFIO_IOMMU_INFO_PGSIZES
	IOMMUInfoCapabilities uint32 = 1 << 1 // VFIO_IOMMU_INFO_CAPS
)

// IOMMUInfo is struct vfio_iommu_type1_info.
type IOMMUInfo struct {
	_         structs.HostLayout
	ArgSize   uint32
	Flags     uint32
	PageSizes uint64 // bitmap of supported page sizes, bytes
	CapOffset uint32
	_         uint32
}

// IOMMUCapIOVARange is the id of the capability that lists the addresses which
// the IOMMU translates (VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE).
const IOMMUCapIOVARange = 1

// IOVARange is struct vfio_iova_range. Both ends belong to the range.
type IOVARange struct {
	_     structs.HostLayout
	Start uint64
	End   uint64
}

// Flags of DMAMap.
const (
	DMAMapRead  uint32 = 1 << 0 // VFIO_DMA_MAP_FLAG_READ: devices may read
	DMAMapWrite uint32 = 1 << 1 // VFIO_DMA_MAP_FLAG_WRITE: devices may write
)

// DMAMap is struct vfio_iommu_type1_dma_map.
type DMAMap struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
	Vaddr   uint64 // process address
	IOVA    uint64
	Size    uint64 // bytes
}

// DMAUnmap is struct vfio_iommu_type1_dma_unmap. Flags stay zero: the bits mean
// other things than those of DMAMap (bit 1 unmaps everything).
type DMAUnmap struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
	IOVA    uint64
	Size    uint64 // bytes; the kernel stores how many it unmapped
}
