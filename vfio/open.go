package vfio

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

// Open opens the PCI function at addr, which must be bound to vfio-pci. It joins the address
// space of its kind. Only one process, and this only once, can have it open.
//
// What the user can fix is reported as *pci.DeviceError.
func (c *Container) Open(addr pci.Address) (*Device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	info, err := c.sysfs.Device(addr)
	if err != nil {
		return nil, err
	}
	if err := checkInfo(info); err != nil {
		return nil, err
	}
	for d := range c.devices {
		if d.addr == addr {
			return nil, &pci.DeviceError{
				Device: addr.String(), Problem: "is already in use by this program", Remedy: "name each device only once",
			}
		}
	}
	files, s, err := c.filesOf(info)
	if err != nil {
		return nil, err
	}
	d, err := newDevice(c, addr, s, files)
	if err != nil {
		_ = unix.Close(files.DeviceFD)
		return nil, err
	}
	c.devices[d] = struct{}{}
	return d, nil
}

// filesOf opens the files of a device, unless they are open already. The caller holds c.mu.
func (c *Container) filesOf(info pci.Info) (Files, space, error) {
	if files, ok := c.opened[info.Address]; ok {
		delete(c.opened, info.Address)
		return files, c.spaces[files.Mode], nil
	}
	s, err := c.spaceFor(info)
	if err != nil {
		return Files{}, nil, err
	}
	files, err := s.open(info)
	return files, s, err
}

// spaceFor chooses the address space that a device joins: that of iommufd where the kernel
// gives the device a file of its own.
func (c *Container) spaceFor(info pci.Info) (space, error) {
	mode := Type1
	if info.NoIOMMU {
		mode = NoIOMMU
	} else if c.spaces[IOMMUFD] != nil && info.VFIODevice != "" {
		if _, err := os.Stat(deviceNode(c.dir, info)); err == nil {
			mode = IOMMUFD
		}
	}
	switch s := c.spaces[mode]; {
	case s != nil:
		return s, nil
	case mode == NoIOMMU:
		return nil, &pci.DeviceError{
			Device: info.Address.String(), Problem: "is in a no-IOMMU group: nothing keeps it from any of this machine's memory",
			Remedy: "accept that with --noiommu, or " + pci.RemedyNoIOMMU,
		}
	default:
		return nil, &pci.DeviceError{
			Device: info.Address.String(), Problem: "has no file in " + c.dir + "/devices, and the kernel has no container for IOMMU groups",
			Remedy: "use a kernel with CONFIG_VFIO_DEVICE_CDEV or with CONFIG_VFIO_CONTAINER",
		}
	}
}

// checkInfo finds what sysfs alone tells about a device that cannot be used. The
// group comes first: vfio-pci does not even bind to a device without one.
func checkInfo(info pci.Info) error {
	fail := func(remedy, problem string, args ...any) error {
		return &pci.DeviceError{Device: info.Address.String(), Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
	}
	switch {
	case !info.HasIOMMUGroup:
		return fail(pci.RemedyNoIOMMU+", or accept that nothing does: --noiommu", "is in no IOMMU group, there is no IOMMU to confine it")
	case info.Driver == "":
		return fail(remedyBind(info), "is not bound to vfio-pci, nor to any other driver")
	case !info.BoundToVFIO():
		return fail(remedyBind(info), "is bound to %s, not to vfio-pci", info.Driver)
	}
	return nil
}

// remedyBind says how to bind a device by hand.
func remedyBind(info pci.Info) string {
	dir := "/sys/bus/pci/devices/" + info.Address.String()
	steps := []string{"modprobe vfio-pci", "echo vfio-pci > " + dir + "/driver_override"}
	if info.Driver != "" {
		steps = append(steps, "echo "+info.Address.String()+" > "+dir+"/driver/unbind")
	}
	steps = append(steps, "echo "+info.Address.String()+" > /sys/bus/pci/drivers_probe")
	return "use --bind, or by hand: " + strings.Join(steps, "; ")
}
