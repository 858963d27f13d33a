package vfio

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Open opens the PCI function at addr, which must be bound to vfio-pci. Its IOMMU
// group joins the container. Only one process, and this only once, can have it open.
//
// What the user can mend is reported as *pci.DeviceError.
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
	files, err := c.openFiles(info)
	if err != nil {
		return nil, err
	}
	d, err := newDevice(c, addr, files.Group, files.DeviceFD)
	if err != nil {
		_ = unix.Close(files.DeviceFD)
		return nil, err
	}
	c.devices[d] = struct{}{}
	return d, nil
}

// checkInfo finds what sysfs alone tells about a device that cannot be used. The
// group comes first: vfio-pci does not even bind to a device without one.
func checkInfo(info pci.Info) error {
	fail := func(remedy, problem string, args ...any) error {
		return &pci.DeviceError{Device: info.Address.String(), Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
	}
	switch {
	case !info.HasIOMMUGroup:
		return fail(pci.RemedyNoIOMMU, "is in no IOMMU group, there is no IOMMU to confine it")
	case info.NoIOMMU:
		return fail(pci.RemedyNoIOMMU, "is in a no-IOMMU group, which is not supported yet")
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

// join opens the group of a device and makes it part of the container, unless it
// is already. The caller holds c.mu.
func (c *Container) join(info pci.Info) (int, error) {
	number := info.IOMMUGroup
	if fd, ok := c.groups[number]; ok {
		return fd, nil
	}
	path := filepath.Join(c.dir, strconv.Itoa(number))
	fd, err := openFile(path)
	if err != nil {
		return -1, nodeError(path, err)
	}
	if err := c.attach(fd, info); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	c.groups[number] = fd
	return fd, nil
}

// attach puts a group into the container and, with the first group, chooses the
// IOMMU model. Later groups are checked by the kernel against that model.
func (c *Container) attach(fd int, info pci.Info) error {
	flags, err := c.kernel.GroupStatus(fd)
	if err != nil {
		return groupError(info, err)
	}
	if flags&uapi.GroupViable == 0 {
		return c.notViable(info)
	}
	if err := c.kernel.GroupSetContainer(fd, c.fd); err != nil {
		return groupError(info, err)
	}
	if c.iommu {
		return nil
	}
	if err := c.kernel.SetIOMMU(c.fd, uapi.Type1v2IOMMU); err != nil {
		return groupError(info, err)
	}
	c.iommu = true
	return nil
}

// groupError explains why a viable group does not join.
func groupError(info pci.Info, err error) error {
	e := &pci.DeviceError{
		Device: info.Address.String(), Problem: fmt.Sprintf("its IOMMU group %d cannot be used", info.IOMMUGroup), Err: err,
		Remedy: "see dmesg for the reason",
	}
	switch {
	case errors.Is(err, unix.EPERM):
		e.Problem = "the IOMMU does not remap interrupts, so the device could forge them"
		e.Remedy = "turn remapping on (QEMU: -device intel-iommu,intremap=on -machine kernel-irqchip=split), or accept the risk: " +
			"echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
	case errors.Is(err, unix.EBUSY):
		e.Remedy = "stop the other program or driver that uses the group"
	}
	return e
}

// notViable names the other devices of a group: those bound to a driver that is
// not vfio-pci are in the way. (Bridges are, too, only when bound to one other
// than pcieport, which the kernel tolerates.)
func (c *Container) notViable(info pci.Info) error {
	e := &pci.DeviceError{
		Device:  info.Address.String(),
		Problem: fmt.Sprintf("its IOMMU group %d is not viable, other drivers use devices of it", info.IOMMUGroup),
		Remedy:  "bind all devices of the group to vfio-pci",
	}
	members, err := c.sysfs.Group(info.IOMMUGroup)
	if err != nil {
		e.Err = err
		return e
	}
	var others []string
	for _, m := range members {
		if m.Address == info.Address {
			continue
		}
		driver := m.Driver
		if driver == "" {
			driver = "no driver"
		}
		others = append(others, fmt.Sprintf("%v (%s)", m.Address, driver))
	}
	if len(others) > 0 {
		e.Remedy += ", or leave them without driver: " + strings.Join(others, ", ")
	}
	return e
}

// nodeError explains why a file in /dev/vfio does not open.
func nodeError(path string, err error) error {
	e := &pci.DeviceError{Device: path, Problem: "cannot be opened", Err: err, Remedy: "see dmesg for the reason"}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Remedy = "modprobe vfio-pci"
	case errors.Is(err, fs.ErrPermission):
		e.Remedy = "run as root, or give your user access to the file"
	case errors.Is(err, unix.EBUSY):
		e.Remedy = "stop the other program that uses the device"
	}
	return e
}
