package uapi

import (
	"testing"
	"unsafe"
)

// TestStructures compares with what a C compiler makes of <linux/vfio.h> on 64-bit
// machines.
func TestStructures(t *testing.T) {
	for name, c := range map[string]struct{ got, want uintptr }{
		"sizeof IOMMUInfo":            {unsafe.Sizeof(IOMMUInfo{}), 24},
		"offsetof IOMMUInfo.PageSize": {unsafe.Offsetof(IOMMUInfo{}.PageSizes), 8},
		"offsetof IOMMUInfo.CapOff":   {unsafe.Offsetof(IOMMUInfo{}.CapOffset), 16},
		"sizeof IOVARange":            {unsafe.Sizeof(IOVARange{}), 16},
		"sizeof DMAMap":               {unsafe.Sizeof(DMAMap{}), 32},
		"offsetof DMAMap.Flags":       {unsafe.Offsetof(DMAMap{}.Flags), 4},
		"offsetof DMAMap.Vaddr":       {unsafe.Offsetof(DMAMap{}.Vaddr), 8},
		"offsetof DMAMap.IOVA":        {unsafe.Offsetof(DMAMap{}.IOVA), 16},
		"offsetof DMAMap.Size":        {unsafe.Offsetof(DMAMap{}.Size), 24},
		"sizeof DMAUnmap":             {unsafe.Sizeof(DMAUnmap{}), 24},
		"offsetof DMAUnmap.IOVA":      {unsafe.Offsetof(DMAUnmap{}.IOVA), 8},
		"offsetof DMAUnmap.Size":      {unsafe.Offsetof(DMAUnmap{}.Size), 16},
		"sizeof GroupStatus":          {unsafe.Sizeof(GroupStatus{}), 8},
		"sizeof DeviceInfo":           {unsafe.Sizeof(DeviceInfo{}), 20},
		"offsetof DeviceInfo.Regions": {unsafe.Offsetof(DeviceInfo{}.NumRegions), 8},
		"offsetof DeviceInfo.IRQs":    {unsafe.Offsetof(DeviceInfo{}.NumIRQs), 12},
		"sizeof RegionInfo":           {unsafe.Sizeof(RegionInfo{}), 32},
		"offsetof RegionInfo.Index":   {unsafe.Offsetof(RegionInfo{}.Index), 8},
		"offsetof RegionInfo.CapOff":  {unsafe.Offsetof(RegionInfo{}.CapOffset), 12},
		"offsetof RegionInfo.Size":    {unsafe.Offsetof(RegionInfo{}.Size), 16},
		"offsetof RegionInfo.Offset":  {unsafe.Offsetof(RegionInfo{}.Offset), 24},
		"sizeof SparseArea":           {unsafe.Sizeof(SparseArea{}), 16},
		"sizeof IRQInfo":              {unsafe.Sizeof(IRQInfo{}), 16},
		"offsetof IRQInfo.Count":      {unsafe.Offsetof(IRQInfo{}.Count), 12},
		"sizeof IRQSet":               {unsafe.Sizeof(IRQSet{}), 20},
		"offsetof IRQSet.Index":       {unsafe.Offsetof(IRQSet{}.Index), 8},
		"offsetof IRQSet.Count":       {unsafe.Offsetof(IRQSet{}.Count), 16},

		"sizeof DeviceBind":                 {unsafe.Sizeof(DeviceBind{}), 16},
		"offsetof DeviceBind.IOMMUFD":       {unsafe.Offsetof(DeviceBind{}.IOMMUFD), 8},
		"offsetof DeviceBind.DevID":         {unsafe.Offsetof(DeviceBind{}.DevID), 12},
		"sizeof DeviceAttach":               {unsafe.Sizeof(DeviceAttach{}), 12},
		"offsetof DeviceAttach.PTID":        {unsafe.Offsetof(DeviceAttach{}.PTID), 8},
		"sizeof IOASAlloc":                  {unsafe.Sizeof(IOASAlloc{}), 12},
		"offsetof IOASAlloc.ID":             {unsafe.Offsetof(IOASAlloc{}.ID), 8},
		"sizeof IOASIOVARanges":             {unsafe.Sizeof(IOASIOVARanges{}), 32},
		"offsetof IOASIOVARanges.Count":     {unsafe.Offsetof(IOASIOVARanges{}.Count), 8},
		"offsetof IOASIOVARanges.Ranges":    {unsafe.Offsetof(IOASIOVARanges{}.Ranges), 16},
		"offsetof IOASIOVARanges.Alignment": {unsafe.Offsetof(IOASIOVARanges{}.Alignment), 24},
		"sizeof IOASMap":                    {unsafe.Sizeof(IOASMap{}), 40},
		"offsetof IOASMap.ID":               {unsafe.Offsetof(IOASMap{}.ID), 8},
		"offsetof IOASMap.Vaddr":            {unsafe.Offsetof(IOASMap{}.Vaddr), 16},
		"offsetof IOASMap.Length":           {unsafe.Offsetof(IOASMap{}.Length), 24},
		"offsetof IOASMap.IOVA":             {unsafe.Offsetof(IOASMap{}.IOVA), 32},
		"sizeof IOASUnmap":                  {unsafe.Sizeof(IOASUnmap{}), 24},
		"offsetof IOASUnmap.ID":             {unsafe.Offsetof(IOASUnmap{}.ID), 4},
		"offsetof IOASUnmap.IOVA":           {unsafe.Offsetof(IOASUnmap{}.IOVA), 8},
		"offsetof IOASUnmap.Length":         {unsafe.Offsetof(IOASUnmap{}.Length), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", name, c.got, c.want)
		}
	}
}

func TestRequestNumbers(t *testing.T) {
	for name, c := range map[string]struct{ got, want int }{
		"VFIO_GET_API_VERSION":        {getAPIVersion, 0x3b64},
		"VFIO_CHECK_EXTENSION":        {checkExtension, 0x3b65},
		"VFIO_SET_IOMMU":              {setIOMMU, 0x3b66},
		"VFIO_GROUP_GET_STATUS":       {groupGetStatus, 0x3b67},
		"VFIO_GROUP_SET_CONTAINER":    {groupSetContainer, 0x3b68},
		"VFIO_GROUP_GET_DEVICE_FD":    {groupGetDeviceFD, 0x3b6a},
		"VFIO_DEVICE_GET_INFO":        {deviceGetInfo, 0x3b6b},
		"VFIO_DEVICE_GET_REGION_INFO": {deviceGetRegionInfo, 0x3b6c},
		"VFIO_DEVICE_GET_IRQ_INFO":    {deviceGetIRQInfo, 0x3b6d},
		"VFIO_DEVICE_SET_IRQS":        {deviceSetIRQs, 0x3b6e},
		"VFIO_DEVICE_RESET":           {deviceReset, 0x3b6f},
		"VFIO_IOMMU_GET_INFO":         {iommuGetInfo, 0x3b70},
		"VFIO_IOMMU_MAP_DMA":          {iommuMapDMA, 0x3b71},
		"VFIO_IOMMU_UNMAP_DMA":        {iommuUnmapDMA, 0x3b72},

		"VFIO_DEVICE_BIND_IOMMUFD":      {deviceBindIOMMUFD, 0x3b76},
		"VFIO_DEVICE_ATTACH_IOMMUFD_PT": {deviceAttachPT, 0x3b77},
		"IOMMU_IOAS_ALLOC":              {ioasAlloc, 0x3b81},
		"IOMMU_IOAS_IOVA_RANGES":        {ioasIOVARanges, 0x3b84},
		"IOMMU_IOAS_MAP":                {ioasMap, 0x3b85},
		"IOMMU_IOAS_UNMAP":              {ioasUnmap, 0x3b86},
	} {
		if c.got != c.want {
			t.Errorf("%s is 0x%x, want 0x%x", name, c.got, c.want)
		}
	}
}
