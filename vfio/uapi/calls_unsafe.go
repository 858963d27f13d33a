package uapi

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls makes the requests to the kernel. It has no state; users hold it behind
// an interface of their own, so that tests can stand in for the kernel.
//
// Errors wrap the errno and name the request.
type Calls struct{}

// maxInfo bounds how large an answer the kernel may ask room for.
const maxInfo = 1 << 20

// ioctlInt passes a plain number.
func ioctlInt(fd int, name string, request, arg uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return -1, fmt.Errorf("%s: %w", name, errno)
		}
		return int(r), nil
	}
}

// ioctl passes a structure. T holds no Go pointers.
func ioctl[T any](fd int, name string, request uintptr, arg *T) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return -1, fmt.Errorf("%s: %w", name, errno)
		}
		return int(r), nil
	}
}

// APIVersion returns the version of the interface, see the constant.
func (Calls) APIVersion(container int) (int, error) {
	return ioctlInt(container, "VFIO_GET_API_VERSION", getAPIVersion, 0)
}

// CheckExtension reports whether the kernel has an IOMMU model.
func (Calls) CheckExtension(container, model int) (bool, error) {
	r, err := ioctlInt(container, "VFIO_CHECK_EXTENSION", checkExtension, uintptr(model))
	return r > 0, err
}

// SetIOMMU chooses the IOMMU model; at least one group must have joined.
func (Calls) SetIOMMU(container, model int) error {
	_, err := ioctlInt(container, "VFIO_SET_IOMMU", setIOMMU, uintptr(model))
	return err
}

// IOMMUInfo returns what the IOMMU can do and the whole answer, in which
// FindCapability looks for capabilities.
func (Calls) IOMMUInfo(container int) (IOMMUInfo, []byte, error) {
	return info[IOMMUInfo](container, "VFIO_IOMMU_GET_INFO", iommuGetInfo, nil)
}

// MapDMA lets devices read and write mem at iova. mem lies outside the Go heap.
func (Calls) MapDMA(container int, mem []byte, iova uint64) error {
	arg := DMAMap{
		Flags: DMAMapRead | DMAMapWrite,
		Vaddr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))),
		IOVA:  iova,
		Size:  uint64(len(mem)),
	}
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(container, "VFIO_IOMMU_MAP_DMA", iommuMapDMA, &arg)
	return err
}

// UnmapDMA takes back a mapping and returns how many bytes that were.
func (Calls) UnmapDMA(container int, iova, size uint64) (uint64, error) {
	arg := DMAUnmap{IOVA: iova, Size: size}
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(container, "VFIO_IOMMU_UNMAP_DMA", iommuUnmapDMA, &arg)
	return arg.Size, err
}

// GroupStatus returns the flags of a group.
func (Calls) GroupStatus(group int) (uint32, error) {
	var arg GroupStatus
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(group, "VFIO_GROUP_GET_STATUS", groupGetStatus, &arg)
	return arg.Flags, err
}

// GroupSetContainer makes a group join a container.
func (Calls) GroupSetContainer(group, container int) error {
	fd := int32(container)
	_, err := ioctl(group, "VFIO_GROUP_SET_CONTAINER", groupSetContainer, &fd)
	return err
}

// GroupDeviceFD opens a device of the group by its name (a PCI address). The
// caller owns the descriptor.
func (Calls) GroupDeviceFD(group int, name string) (int, error) {
	cname, err := unix.ByteSliceFromString(name)
	if err != nil {
		return -1, fmt.Errorf("VFIO_GROUP_GET_DEVICE_FD of %q: %w", name, err)
	}
	return ioctl(group, "VFIO_GROUP_GET_DEVICE_FD", groupGetDeviceFD, &cname[0])
}

// DeviceInfo returns what kind of device it is.
func (Calls) DeviceInfo(device int) (DeviceInfo, error) {
	i, _, err := info[DeviceInfo](device, "VFIO_DEVICE_GET_INFO", deviceGetInfo, nil)
	return i, err
}

// RegionInfo describes a region; the bytes are for FindCapability.
func (Calls) RegionInfo(device int, index uint32) (RegionInfo, []byte, error) {
	return info(device, "VFIO_DEVICE_GET_REGION_INFO", deviceGetRegionInfo, func(i *RegionInfo) { i.Index = index })
}

// IRQInfo describes a kind of interrupt.
func (Calls) IRQInfo(device int, index uint32) (IRQInfo, error) {
	i, _, err := info(device, "VFIO_DEVICE_GET_IRQ_INFO", deviceGetIRQInfo, func(i *IRQInfo) { i.Index = index })
	return i, err
}

// SetIRQEventfds enables len(fds) vectors from 0 on, each signalling its eventfd.
// A positive result means that nothing was enabled because the kernel could get
// only that many vectors.
func (Calls) SetIRQEventfds(device int, index uint32, fds []int) (int, error) {
	const headWords = int(unsafe.Sizeof(IRQSet{}) / 4)
	words := make([]int32, headWords+len(fds))
	head := (*IRQSet)(unsafe.Pointer(&words[0]))
	head.ArgSize = uint32(4 * len(words))
	head.Flags = IRQDataEventfd | IRQActionTrigger
	head.Index = index
	head.Count = uint32(len(fds))
	for i, fd := range fds {
		words[headWords+i] = int32(fd)
	}
	return ioctl(device, "VFIO_DEVICE_SET_IRQS", deviceSetIRQs, &words[0])
}

// DisableIRQs switches a kind of interrupt off.
func (Calls) DisableIRQs(device int, index uint32) error {
	arg := IRQSet{Flags: IRQDataNone | IRQActionTrigger, Index: index}
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(device, "VFIO_DEVICE_SET_IRQS", deviceSetIRQs, &arg)
	return err
}

// ResetDevice resets the device function.
func (Calls) ResetDevice(device int) error {
	_, err := ioctlInt(device, "VFIO_DEVICE_RESET", deviceReset, 0)
	return err
}

// info makes a request whose answer may be longer than its structure T, which
// begins with u32 argsz: the kernel says there how much room it wants, and is
// asked again.
func info[T any](fd int, name string, request uintptr, fill func(*T)) (T, []byte, error) {
	size := uint32(unsafe.Sizeof(*new(T)))
	for {
		words := make([]uint64, (size+7)/8) // aligned for T
		arg := (*T)(unsafe.Pointer(&words[0]))
		if fill != nil {
			fill(arg)
		}
		argSize := (*uint32)(unsafe.Pointer(arg))
		*argSize = size
		if _, err := ioctl(fd, name, request, &words[0]); err != nil {
			return *arg, nil, err
		}
		switch wanted := *argSize; {
		case wanted <= size:
			return *arg, unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:size], nil
		case wanted > maxInfo:
			return *arg, nil, fmt.Errorf("%s: the kernel wants to answer with %d bytes", name, wanted)
		default:
			size = wanted
		}
	}
}
