package uapi

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BindIOMMUFD puts a device, opened by its own file, under iommufd. Before that its file
// answers nothing.
func (Calls) BindIOMMUFD(device, iommufd int) error {
	arg := DeviceBind{IOMMUFD: int32(iommufd)}
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(device, "VFIO_DEVICE_BIND_IOMMUFD", deviceBindIOMMUFD, &arg)
	return err
}

// AttachIOAS gives a bound device an address space.
func (Calls) AttachIOAS(device int, ioas uint32) error {
	arg := DeviceAttach{PTID: ioas}
	arg.ArgSize = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(device, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", deviceAttachPT, &arg)
	return err
}

// AllocIOAS makes an address space, which lasts as long as the file of iommufd.
func (Calls) AllocIOAS(iommufd int) (uint32, error) {
	var arg IOASAlloc
	arg.Size = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(iommufd, "IOMMU_IOAS_ALLOC", ioasAlloc, &arg)
	return arg.ID, err
}

// maxRanges bounds how many ranges the kernel may have.
const maxRanges = 4096

// IOASRanges lists the addresses that can be mapped for all devices of an address space, and
// what these, and sizes, must be multiples of.
func (Calls) IOASRanges(iommufd int, ioas uint32) ([]IOVARange, uint64, error) {
	const name = "IOMMU_IOAS_IOVA_RANGES"
	for room := uint32(16); ; {
		ranges := make([]IOVARange, room)
		arg := IOASIOVARanges{ID: ioas, Count: room}
		arg.Size = uint32(unsafe.Sizeof(arg))
		// The heap does not move, and the slice is kept until the answer is there.
		arg.Ranges = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(ranges))))
		_, err := ioctl(iommufd, name, ioasIOVARanges, &arg)
		runtime.KeepAlive(ranges)
		switch {
		case errors.Is(err, unix.EMSGSIZE) && arg.Count > room && arg.Count <= maxRanges:
			room = arg.Count
		case err != nil:
			return nil, 0, err
		case arg.Count > room:
			return nil, 0, fmt.Errorf("%s: the kernel gives %d ranges where there is room for %d", name, arg.Count, room)
		default:
			return ranges[:arg.Count], arg.Alignment, nil
		}
	}
}

// MapIOAS lets devices of an address space read and write mem at iova. mem lies outside the
// Go heap.
func (Calls) MapIOAS(iommufd int, ioas uint32, mem []byte, iova uint64) error {
	arg := IOASMap{
		Flags: IOASMapFixedIOVA | IOASMapWriteable | IOASMapReadable, ID: ioas,
		Vaddr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))), Length: uint64(len(mem)), IOVA: iova,
	}
	arg.Size = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(iommufd, "IOMMU_IOAS_MAP", ioasMap, &arg)
	return err
}

// UnmapIOAS takes back a mapping and returns how many bytes that were.
func (Calls) UnmapIOAS(iommufd int, ioas uint32, iova, size uint64) (uint64, error) {
	arg := IOASUnmap{ID: ioas, IOVA: iova, Length: size}
	arg.Size = uint32(unsafe.Sizeof(arg))
	_, err := ioctl(iommufd, "IOMMU_IOAS_UNMAP", ioasUnmap, &arg)
	return arg.Length, err
}
