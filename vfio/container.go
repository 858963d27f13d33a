package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Config is how a container is opened. The zero value is a container of its own.
type Config struct {
	// Memory is how the container's arena gets its memory.
	Memory dma.ArenaConfig
	// Sysfs is where devices are looked up.
	Sysfs pci.Sysfs
	// Node is a file of OpenNode, which the container takes over; nil: it opens one.
	Node *os.File
}

// ErrClosed is returned by a Container or a Device that has been closed.
var ErrClosed = errors.New("vfio: closed")

// Container is a DMA address space and the IOMMU groups that share it. Open one
// per process. It is a dma.Mapper; memory mapped through it is visible to all its
// devices.
//
// A group joins with its first device and stays until Close, or until all its devices are
// released, see Device.Release: the kernel forgets all mappings when the last group
// leaves. Until then no device of a joined group can be given back to an ordinary driver.
//
// Safe for concurrent use.
type Container struct {
	kernel kernel
	sysfs  pci.Sysfs
	dir    string // "/dev/vfio"
	fd     int
	arena  *dma.Arena

	mu      sync.Mutex
	groups  map[int]int // IOMMU group number to file descriptor
	iommu   bool        // the IOMMU model has been set
	lost    bool        // all groups have left, and taken the mappings with them
	devices map[*Device]struct{}
	closed  bool
}

var (
	_ dma.Mapper        = (*Container)(nil)
	_ dma.RangeReporter = (*Container)(nil)
)

// OpenContainer opens a container. It fails when the kernel has no VFIO or no
// type1 IOMMU support loaded; whether there is an IOMMU shows when a device is opened.
func OpenContainer(cfg Config) (*Container, error) {
	return openContainer(cfg, uapi.Calls{}, devVFIO)
}

// devVFIO is where VFIO's files are.
const devVFIO = "/dev/vfio"

func openContainer(cfg Config, k kernel, dir string) (*Container, error) {
	path := filepath.Join(dir, "vfio")
	fd, err := takeNode(cfg.Node, path)
	if err != nil {
		return nil, err
	}
	if err := checkAPI(k, fd, path); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	c := &Container{
		kernel: k, sysfs: cfg.Sysfs, dir: dir, fd: fd,
		groups: make(map[int]int), devices: make(map[*Device]struct{}),
	}
	c.arena = dma.NewArena(c, cfg.Memory)
	return c, nil
}

// OpenNode opens the file of a container, for who has to give up the privileges to open it
// before the container is needed.
func OpenNode() (*os.File, error) {
	path := filepath.Join(devVFIO, "vfio")
	fd, err := takeNode(nil, path)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// takeNode is the descriptor of a node, or that of path if there is none yet.
func takeNode(node *os.File, path string) (fd int, err error) {
	if node != nil {
		defer node.Close()
		fd, err = unix.FcntlInt(node.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		fd, err = openFile(path)
	}
	if err != nil {
		return -1, nodeError(path, err)
	}
	return fd, nil
}

func checkAPI(k kernel, fd int, path string) error {
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
	ok, err := k.CheckExtension(fd, uapi.Type1v2IOMMU)
	if err != nil || !ok {
		return &pci.DeviceError{
			Device: path, Problem: "the kernel has no type1 v2 IOMMU support for VFIO",
			Remedy: "modprobe vfio_iommu_type1", Err: err,
		}
	}
	return nil
}

// Arena returns the memory that all devices of the container share.
func (c *Container) Arena() *dma.Arena { return c.arena }

// MapDMA lets all devices of the container read and write mem at iova. At least
// one device must be open.
func (c *Container) MapDMA(mem []byte, iova dma.IOVA) error {
	if len(mem) == 0 {
		return errors.New("vfio: map no memory for DMA")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	err := c.kernel.MapDMA(c.fd, mem, uint64(iova))
	switch {
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("map %d bytes for DMA at %v: not enough memory may be locked; raise it (ulimit -l unlimited) "+
			"or run as root: %w", len(mem), iova, err)
	case err != nil:
		return fmt.Errorf("map %d bytes for DMA at %v: %w", len(mem), iova, err)
	}
	return nil
}

// UnmapDMA undoes a MapDMA of the same address and size.
func (c *Container) UnmapDMA(iova dma.IOVA, size uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost && !c.closed {
		return nil // it went with the last group
	}
	if err := c.usable(); err != nil {
		return err
	}
	unmapped, err := c.kernel.UnmapDMA(c.fd, uint64(iova), size)
	if err != nil {
		return fmt.Errorf("unmap %d bytes of DMA at %v: %w", size, iova, err)
	}
	if unmapped != size {
		return fmt.Errorf("unmap %d bytes of DMA at %v: the kernel unmapped %d", size, iova, unmapped)
	}
	return nil
}

// IOVARanges lists the addresses that the IOMMU translates for all groups joined
// so far. Kernels before 5.4 do not tell; then it gives what every IOMMU does.
func (c *Container) IOVARanges() ([]dma.Range, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return nil, err
	}
	info, raw, err := c.kernel.IOMMUInfo(c.fd)
	if err != nil {
		return nil, err
	}
	if info.Flags&uapi.IOMMUInfoCapabilities == 0 {
		return dma.DefaultRanges(), nil
	}
	capability, err := uapi.FindCapability(raw, info.CapOffset, uapi.IOMMUCapIOVARange)
	if err != nil {
		return nil, err
	}
	if capability == nil {
		return dma.DefaultRanges(), nil
	}
	ranges, err := uapi.IOVARanges(capability)
	if err != nil {
		return nil, err
	}
	list := make([]dma.Range, len(ranges))
	for i, r := range ranges {
		list[i] = dma.Range{First: dma.IOVA(r.Start), Last: dma.IOVA(r.End)}
	}
	return list, nil
}

// usable tells whether the container translates. The caller holds c.mu.
func (c *Container) usable() error {
	switch {
	case c.closed:
		return ErrClosed
	case !c.iommu:
		return errors.New("vfio: no device has been opened, so there is no IOMMU to map memory in yet")
	}
	return nil
}

// Close closes all devices, takes the arena's memory from them and lets the groups
// go. Nothing that came from the container may be used afterwards. Closing twice
// is harmless.
func (c *Container) Close() error {
	var errs []error
	for _, d := range c.openDevices() {
		errs = append(errs, d.Close())
	}
	errs = append(errs, c.arena.Close())

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.Join(errs...)
	}
	c.closed = true
	for number, fd := range c.groups {
		errs = append(errs, closeFile(fd, "IOMMU group "+strconv.Itoa(number)))
	}
	errs = append(errs, closeFile(c.fd, "VFIO container"))
	return errors.Join(errs...)
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
