package vfio

import (
	"errors"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// To open a device takes files that a confined process cannot open any more. So another one
// can do that part: it has a container of the same files (ShareContainer, OpenFiles), and
// passes on what it got (Adopt).

// Files are what opening a device takes. Whoever has them closes them.
type Files struct {
	Mode     Mode
	Group    int // number of the IOMMU group
	GroupFD  int // the group, which has joined the container; -1 with IOMMUFD
	DeviceFD int
}

// Close closes the files.
func (f Files) Close() error {
	err := closeFile(f.DeviceFD, "VFIO device")
	if f.GroupFD >= 0 {
		err = errors.Join(err, closeFile(f.GroupFD, "IOMMU group"))
	}
	return err
}

// Shared are address spaces, for another process. Their owner is the container.
type Shared struct {
	Container int  // of groups behind an IOMMU; -1: there is none
	Bare      int  // of groups without one; -1: there is none
	IOMMUFD   bool // devices with files of their own are opened by these
}

// Shared is what another process needs to open files for this one.
func (c *Container) Shared() Shared {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd := func(m Mode) int {
		if g, ok := c.spaces[m].(*groups); ok {
			return g.fd
		}
		return -1
	}
	return Shared{Container: fd(Type1), Bare: fd(NoIOMMU), IOMMUFD: c.spaces[IOMMUFD] != nil}
}

// ShareContainer is a container in the process that opens files for another one, whose
// address spaces stay its own. It serves for OpenFiles only.
func ShareContainer(s Shared, sysfs pci.Sysfs) *Container {
	return shareContainer(s, sysfs, linux, devVFIO)
}

func shareContainer(s Shared, sysfs pci.Sysfs, k kernel, dir string) *Container {
	c := newContainer(k, sysfs, dir)
	share := func(fd, model int) {
		if fd >= 0 {
			g := newGroups(k, sysfs, dir, fd, model)
			g.shared = true
			c.spaces[g.mode()] = g
		}
	}
	share(s.Container, uapi.Type1v2IOMMU)
	share(s.Bare, uapi.NoIOMMU)
	if s.IOMMUFD {
		c.spaces[IOMMUFD] = newIOAS(k, dir, -1) // to bind a device is for its user
	}
	return c
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
	if err := checkInfo(info); err != nil {
		return Files{}, err
	}
	s, err := c.spaceFor(info)
	if err != nil {
		return Files{}, err
	}
	return s.lend(info)
}

// Adopt makes a device of files that another process has opened for this container. It
// takes them over, also when it fails. If the container had no group any more all DMA memory
// is mapped again; the process must be allowed to lock that much memory.
func (c *Container) Adopt(addr pci.Address, files Files) (*Device, error) {
	s, err := c.spaceOf(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	// One after the other: who joins second finds the mappings, or has to make them, too.
	c.adopting.Lock()
	defer c.adopting.Unlock()
	remap, err := s.adopt(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	if remap {
		err = s.memory().Remap()
	}
	var d *Device
	if err == nil {
		d, err = newDevice(c, addr, s, files)
	}
	if err != nil {
		_ = unix.Close(files.DeviceFD)
		return nil, errors.Join(err, c.leave(s, files))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices[d] = struct{}{}
	return d, nil
}

// spaceOf is the address space that files are for.
func (c *Container) spaceOf(files Files) (space, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if s := c.spaces[files.Mode]; s != nil {
		return s, nil
	}
	return nil, errors.New("vfio: there is no address space of the kind " + files.Mode.String())
}

// leave releases the group of a device, if it was the last one of it.
func (c *Container) leave(s space, files Files) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for d := range c.devices {
		if d.space == s && d.files.Group == files.Group {
			return nil
		}
	}
	return s.leave(files)
}
