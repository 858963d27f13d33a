package vfio

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// To open a device takes files that a confined process cannot open any more. So another one
// can do that part: it has a container of the same file (ShareContainer, OpenFiles), and
// passes on what it got (Adopt).

// Files are what opening a device takes: its group, which has joined the container, and the
// device. Whoever has them closes them.
type Files struct {
	Group    int // number of the IOMMU group
	GroupFD  int
	DeviceFD int
}

// Close closes the files.
func (f Files) Close() error {
	return errors.Join(closeFile(f.DeviceFD, "VFIO device"), closeFile(f.GroupFD, "IOMMU group"))
}

// FD is the container's file, for another process. The container owns it.
func (c *Container) FD() int { return c.fd }

// ShareContainer is a container in the process that opens files for another: fd is that
// one's container, and stays the caller's. It serves for OpenFiles only.
func ShareContainer(fd int, sysfs pci.Sysfs) *Container {
	return &Container{kernel: uapi.Calls{}, sysfs: sysfs, dir: devVFIO, fd: fd, groups: map[int]int{}, devices: map[*Device]struct{}{}}
}

// OpenFiles opens the function at addr, which must be bound to vfio-pci, as Container.Open
// does, and leaves the files to the caller. The group must not be open anywhere.
func (c *Container) OpenFiles(addr pci.Address) (Files, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := c.sysfs.Device(addr)
	if err != nil {
		return Files{}, err
	}
	// The other process's container has an IOMMU model if any of its groups is open.
	_, _, err = c.kernel.IOMMUInfo(c.fd)
	c.iommu = err == nil
	files, err := c.openFiles(info)
	group, joined := c.groups[info.IOMMUGroup]
	delete(c.groups, info.IOMMUGroup) // it is the caller's
	if err != nil && joined {
		err = errors.Join(err, closeFile(group, "IOMMU group"))
	}
	return files, err
}

// openFiles opens a device's files; its group may be the container's already. The caller
// holds c.mu.
func (c *Container) openFiles(info pci.Info) (Files, error) {
	if err := checkInfo(info); err != nil {
		return Files{}, err
	}
	group, err := c.join(info)
	if err != nil {
		return Files{}, err
	}
	fd, err := c.kernel.GroupDeviceFD(group, info.Address.String())
	if err != nil {
		err = &pci.DeviceError{Device: info.Address.String(), Problem: "VFIO cannot open it", Err: err, Remedy: "see dmesg for the reason"}
		return Files{}, err
	}
	return Files{Group: info.IOMMUGroup, GroupFD: group, DeviceFD: fd}, nil
}

// Adopt makes a device of files that another process has opened for this container. It
// takes them over, also when it fails. If the container had no group any more all DMA memory
// is mapped again; the process must be allowed to lock that much memory.
func (c *Container) Adopt(addr pci.Address, files Files) (*Device, error) {
	remap, err := c.takeGroup(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	if remap {
		err = c.arena.Remap()
	}
	var d *Device
	if err == nil {
		d, err = newDevice(c, addr, files.Group, files.DeviceFD)
	}
	if err != nil {
		_ = unix.Close(files.DeviceFD)
		return nil, errors.Join(err, c.leave(files.Group))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices[d] = struct{}{}
	return d, nil
}

// takeGroup makes a group the container's, and reports whether its mappings are lost.
func (c *Container) takeGroup(files Files) (remap bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, ErrClosed
	}
	if _, ok := c.groups[files.Group]; ok {
		return false, fmt.Errorf("IOMMU group %d is open already", files.Group)
	}
	c.groups[files.Group] = files.GroupFD
	remap = c.lost
	c.iommu, c.lost = true, false
	return remap, nil
}
