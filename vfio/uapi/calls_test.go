package uapi

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrorsNameTheRequest makes every request to a file that knows none of them.
func TestErrorsNameTheRequest(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	var c Calls
	one := func(_ any, err error) error { return err }
	_, _, iommu := c.IOMMUInfo(fd)
	_, _, region := c.RegionInfo(fd, 0)
	_, _, ranges := c.IOASRanges(fd, 1)
	for name, err := range map[string]error{
		"VFIO_GET_API_VERSION":        one(c.APIVersion(fd)),
		"VFIO_CHECK_EXTENSION":        one(c.CheckExtension(fd, Type1v2IOMMU)),
		"VFIO_SET_IOMMU":              c.SetIOMMU(fd, Type1v2IOMMU),
		"VFIO_IOMMU_GET_INFO":         iommu,
		"VFIO_IOMMU_MAP_DMA":          c.MapDMA(fd, []byte{0}, 0),
		"VFIO_IOMMU_UNMAP_DMA":        one(c.UnmapDMA(fd, 0, 4096)),
		"VFIO_GROUP_GET_STATUS":       one(c.GroupStatus(fd)),
		"VFIO_GROUP_SET_CONTAINER":    c.GroupSetContainer(fd, fd),
		"VFIO_GROUP_GET_DEVICE_FD":    one(c.GroupDeviceFD(fd, "0000:00:01.0")),
		"VFIO_DEVICE_GET_INFO":        one(c.DeviceInfo(fd)),
		"VFIO_DEVICE_GET_REGION_INFO": region,
		"VFIO_DEVICE_GET_IRQ_INFO":    one(c.IRQInfo(fd, PCIMSIXIRQ)),
		"VFIO_DEVICE_SET_IRQS":        one(c.SetIRQEventfds(fd, PCIMSIXIRQ, []int{0})),
		"VFIO_DEVICE_RESET":           c.ResetDevice(fd),

		"VFIO_DEVICE_BIND_IOMMUFD":      c.BindIOMMUFD(fd, fd),
		"VFIO_DEVICE_ATTACH_IOMMUFD_PT": c.AttachIOAS(fd, 1),
		"IOMMU_IOAS_ALLOC":              one(c.AllocIOAS(fd)),
		"IOMMU_IOAS_IOVA_RANGES":        ranges,
		"IOMMU_IOAS_MAP":                c.MapIOAS(fd, 1, []byte{0}, 0),
		"IOMMU_IOAS_UNMAP":              one(c.UnmapIOAS(fd, 1, 0, 4096)),
	} {
		if !errors.Is(err, unix.ENOTTY) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.GroupDeviceFD(fd, "a\x00b"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a name with a zero byte: %v", err)
	}
}
