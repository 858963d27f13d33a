package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Config is how a container is opened. The zero value is a container of its own.
type Config struct {
	// Memory is how devices behind an IOMMU get their memory.
	Memory dma.ArenaConfig
	// Sysfs is where devices are looked up.
	Sysfs pci.Sysfs
	// Nodes are files of OpenNodes, which the container takes over; those that are missing it
	// opens.
	Nodes Nodes
	// Bare are devices that no IOMMU confines, with memory for them, which the
	// container takes over. Nil: it opens none.
	Bare *Bare
}

// ErrClosed is returned by a Container or a Device that has been closed.
var ErrClosed = errors.New("vfio: closed")

// Container opens devices. Open one per process: its devices share an address space for DMA,
// as far as they can. Those that the kernel confines in different ways (see Mode)
// have different ones, see Device.Arena.
//
// Safe for concurrent use.
type Container struct {
	kernel kernel
	sysfs  pci.Sysfs
	dir    string // "/dev/vfio"

	adopting sync.Mutex // held from a device's joining until all memory is mapped for it, or it has left again

	mu      sync.Mutex
	spaces  map[Mode]space
	opened  map[pci.Address]Files // by another process, and not used yet
	pages   *dma.Physical         // of devices without an IOMMU
	devices map[*Device]struct{}
	closed  bool
}

// OpenContainer opens a container. It fails when the kernel has no VFIO loaded; whether
// there is an IOMMU shows when a device is opened.
func OpenContainer(cfg Config) (*Container, error) {
	return openContainer(cfg, linux, devVFIO, devIOMMU)
}

func openContainer(cfg Config, k kernel, dir, iommu string) (*Container, error) {
	c := newContainer(k, cfg.Sysfs, dir)
	fd, err := takeNode(cfg.Nodes.IOMMUFD, iommu)
	if err == nil {
		s := newIOAS(k, dir, fd)
		s.arena = dma.NewArena(s, cfg.Memory)
		c.spaces[IOMMUFD] = s
	}
	path := filepath.Join(dir, "vfio")
	fd, err = takeNode(cfg.Nodes.Container, path)
	if err == nil {
		if err = checkAPI(k, fd, path); err != nil {
			_ = unix.Close(fd)
		} else {
			g := newGroups(k, cfg.Sysfs, dir, fd, uapi.Type1v2IOMMU)
			g.arena = dma.NewArena(g, cfg.Memory)
			c.spaces[Type1] = g
		}
	}
	if err != nil && c.spaces[IOMMUFD] != nil {
		err = nil // a kernel without groups
	}
	if err == nil {
		err = cfg.Bare.moveInto(c)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func newContainer(k kernel, sysfs pci.Sysfs, dir string) *Container {
	return &Container{kernel: k, sysfs: sysfs, dir: dir, spaces: map[Mode]space{}, devices: map[*Device]struct{}{}}
}

// takeNode is the descriptor of a node, or that of path if there is none yet.
func takeNode(node *os.File, path string) (fd int, err error) {
	if node != nil {
		defer node.Close()
		fd, err = dup(node)
	} else {
		fd, err = openFile(path)
	}
	if err != nil {
		return -1, nodeError(path, err)
	}
	return fd, nil
}

func checkAPI(k containerCalls, fd int, path string) error {
	version, err := k.APIVersion(fd)
	if err != nil {
		return &pci.DeviceError{Device: path, Problem: "is not a VFIO container", Remedy: "modprobe vfio-pci", Err: err}
	}
	if version != uapi.APIVersion {
		return &pci.DeviceError{
			Device: path, Problem: fmt.Sprintf("VFIO of version %d, this program knows version %d", version, uapi.APIVersion),
			Remedy: "use a Linux kernel with the VFIO group interface",
		}
	}
	return nil
}

// Close closes all devices, takes their memory from them and lets the groups
// go. Nothing that came from the container may be used afterwards. Closing twice
// is harmless.
func (c *Container) Close() error {
	var errs []error
	for _, d := range c.openDevices() {
		errs = append(errs, d.Close())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.Join(errs...)
	}
	c.closed = true
	for _, files := range c.opened {
		errs = append(errs, closeFile(files.DeviceFD, "VFIO device")) // the group is its space's
	}
	for _, s := range c.spaces {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, c.pages.Close())...)
}

func (c *Container) openDevices() []*Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*Device, 0, len(c.devices))
	for d := range c.devices {
		list = append(list, d)
	}
	return list
}

func (c *Container) forget(d *Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.devices, d)
}
