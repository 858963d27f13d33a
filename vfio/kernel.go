package vfio

import "vvufwd/vfio/uapi"

// kernel is what this package asks of the kernel by ioctl, by the kind of file that is asked.
// Tests stand in for it; files, memory maps and eventfds are real in tests too.
type kernel struct {
	containerCalls
	groupCalls
	iommufdCalls
	deviceCalls
}

// linux is the kernel that we run on.
var linux = kernel{uapi.Calls{}, uapi.Calls{}, uapi.Calls{}, uapi.Calls{}}

type containerCalls interface {
	APIVersion(container int) (int, error)
	CheckExtension(container, model int) (bool, error)
	SetIOMMU(container, model int) error
	IOMMUInfo(container int) (uapi.IOMMUInfo, []byte, error)
	MapDMA(container int, mem []byte, iova uint64) error
	UnmapDMA(container int, iova, size uint64) (uint64, error)
}

type groupCalls interface {
	GroupStatus(group int) (uint32, error)
	GroupSetContainer(group, container int) error
	GroupDeviceFD(group int, name string) (int, error)
}

type iommufdCalls interface {
	BindIOMMUFD(device, iommufd int) error
	AttachIOAS(device int, ioas uint32) error
	AllocIOAS(iommufd int) (uint32, error)
	IOASRanges(iommufd int, ioas uint32) ([]uapi.IOVARange, uint64, error)
	MapIOAS(iommufd int, ioas uint32, mem []byte, iova uint64) error
	UnmapIOAS(iommufd int, ioas uint32, iova, size uint64) (uint64, error)
}

type deviceCalls interface {
	DeviceInfo(device int) (uapi.DeviceInfo, error)
	RegionInfo(device int, index uint32) (uapi.RegionInfo, []byte, error)
	IRQInfo(device int, index uint32) (uapi.IRQInfo, error)
	SetIRQEventfds(device int, index uint32, fds []int) (int, error)
	DisableIRQs(device int, index uint32) error
	ResetDevice(device int) error
}
