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

// groups is an address space for IOMMU groups, which is what VFIO calls a container.
//
// A group joins with its first device and stays until close, or until leave: the kernel
// forgets all mappings when the last group leaves. Until then no device of a joined group
// can be given back to an ordinary driver.
type groups struct {
	kernel kernel
	sysfs  pci.Sysfs
	dir    string // "/dev/vfio"
	fd     int    // of the container
	model  int    // uapi.Type1v2IOMMU or uapi.NoIOMMU
	shared bool   // it is another process's, so that what has been done to it is not known
	arena  *dma.Arena

	mu     sync.Mutex
	joined map[int]int // IOMMU group number to file descriptor
	iommu  bool        // the IOMMU model has been set
	lost   bool        // all groups have left, and taken the mappings with them
	closed bool
}

var (
	_ dma.Mapper        = (*groups)(nil)
	_ dma.RangeReporter = (*groups)(nil)
	_ space             = (*groups)(nil)
)

// newGroups is an address space without groups; it takes over fd.
func newGroups(k kernel, sysfs pci.Sysfs, dir string, fd, model int) *groups {
	return &groups{kernel: k, sysfs: sysfs, dir: dir, fd: fd, model: model, joined: map[int]int{}}
}

func (g *groups) memory() *dma.Arena { return g.arena }

// mode is that of the devices.
func (g *groups) mode() Mode {
	if g.model == uapi.NoIOMMU {
		return NoIOMMU
	}
	return Type1
}

// node is the name of a group's file.
func (g *groups) node(number int) string {
	name := strconv.Itoa(number)
	if g.model == uapi.NoIOMMU {
		name = "noiommu-" + name
	}
	return filepath.Join(g.dir, name)
}

func (g *groups) open(info pci.Info) (Files, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.openFiles(info)
}

// openFiles opens a device's files; its group may be open already. The caller holds g.mu.
func (g *groups) openFiles(info pci.Info) (Files, error) {
	if g.closed {
		return Files{}, ErrClosed
	}
	group, err := g.join(info)
	if err != nil {
		return Files{}, err
	}
	fd, err := g.kernel.GroupDeviceFD(group, info.Address.String())
	if err != nil {
		return Files{}, deviceError(info, err)
	}
	return Files{Mode: g.mode(), Group: info.IOMMUGroup, GroupFD: group, DeviceFD: fd}, nil
}

// deviceError explains why the file of a device is not to be had.
func deviceError(info pci.Info, err error) error {
	return &pci.DeviceError{Device: info.Address.String(), Problem: "VFIO cannot open it", Err: err, Remedy: "see dmesg for the reason"}
}

func (g *groups) lend(info pci.Info) (Files, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.model != uapi.NoIOMMU {
		// The other process's container has an IOMMU model if any of its groups is open.
		_, _, err := g.kernel.IOMMUInfo(g.fd)
		g.iommu = err == nil
	}
	files, err := g.openFiles(info)
	group, joined := g.joined[info.IOMMUGroup]
	delete(g.joined, info.IOMMUGroup) // it is the caller's
	if err != nil && joined {
		err = errors.Join(err, closeFile(group, "IOMMU group"))
	}
	return files, err
}

// join opens the group of a device and makes it part of the container, unless it
// is already. The caller holds g.mu.
func (g *groups) join(info pci.Info) (int, error) {
	number := info.IOMMUGroup
	if fd, ok := g.joined[number]; ok {
		return fd, nil
	}
	path := g.node(number)
	fd, err := openFile(path)
	if err != nil {
		return -1, g.nodeError(path, err)
	}
	if err := g.attach(fd, info); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	g.joined[number] = fd
	return fd, nil
}

// attach puts a group into the container and, with the first group, chooses the
// IOMMU model. Later groups are checked by the kernel against that model.
func (g *groups) attach(fd int, info pci.Info) error {
	flags, err := g.kernel.GroupStatus(fd)
	if err != nil {
		return g.groupError(info, err)
	}
	if flags&uapi.GroupViable == 0 {
		return g.notViable(info)
	}
	if err := g.kernel.GroupSetContainer(fd, g.fd); err != nil {
		return g.groupError(info, err)
	}
	if g.iommu {
		return nil
	}
	switch err := g.setModel(); {
	case errors.Is(err, unix.EINVAL) && g.shared && g.model == uapi.NoIOMMU:
		// The kernel does not tell, but in this way, that the other process has a group in it.
	case err != nil:
		return g.groupError(info, err)
	}
	g.iommu = !g.shared
	return nil
}

// setModel chooses the IOMMU model.
func (g *groups) setModel() error {
	ok, err := g.kernel.CheckExtension(g.fd, g.model)
	if err != nil || !ok {
		e := &pci.DeviceError{
			Device: filepath.Join(g.dir, "vfio"), Problem: "the kernel has no type1 v2 IOMMU support for VFIO",
			Remedy: "modprobe vfio_iommu_type1", Err: err,
		}
		if g.model == uapi.NoIOMMU {
			e.Problem, e.Remedy = "the kernel has no support for devices without an IOMMU", pci.RemedyNoIOMMUMode
		}
		return e
	}
	return g.kernel.SetIOMMU(g.fd, g.model)
}

func (g *groups) adopt(files Files) (remap bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false, ErrClosed
	}
	if _, ok := g.joined[files.Group]; ok {
		return false, fmt.Errorf("IOMMU group %d is open already", files.Group)
	}
	g.joined[files.Group] = files.GroupFD
	remap = g.lost
	g.iommu, g.lost = true, false
	return remap, nil
}

func (g *groups) leave(files Files) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	fd, ok := g.joined[files.Group]
	if !ok || g.closed {
		return nil
	}
	delete(g.joined, files.Group)
	if len(g.joined) == 0 {
		g.iommu, g.lost = false, true
	}
	return closeFile(fd, fmt.Sprintf("IOMMU group %d", files.Group))
}

// MapDMA lets all devices of the space read and write mem at iova. At least one device must
// be open.
func (g *groups) MapDMA(mem []byte, iova dma.IOVA) error {
	if len(mem) == 0 {
		return errNoMemory
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.usable(); err != nil {
		return err
	}
	if err := g.kernel.MapDMA(g.fd, mem, uint64(iova)); err != nil {
		return mapError(mem, iova, err)
	}
	return nil
}

// UnmapDMA undoes a MapDMA of the same address and size.
func (g *groups) UnmapDMA(iova dma.IOVA, size uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost && !g.closed {
		return nil // it went with the last group
	}
	if err := g.usable(); err != nil {
		return err
	}
	unmapped, err := g.kernel.UnmapDMA(g.fd, uint64(iova), size)
	return unmapError(iova, size, unmapped, err)
}

// IOVARanges lists the addresses that the IOMMU translates for all groups joined
// so far. Kernels before 5.4 do not tell; then it gives what every IOMMU does.
func (g *groups) IOVARanges() ([]dma.Range, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.usable(); err != nil {
		return nil, err
	}
	info, raw, err := g.kernel.IOMMUInfo(g.fd)
	if err != nil {
		return nil, err
	}
	if sizes := info.PageSizes; info.Flags&uapi.IOMMUInfoPageSizes != 0 && sizes != 0 {
		if err := checkPages(sizes & -sizes); err != nil {
			return nil, err
		}
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
	return dmaRanges(ranges), nil
}

// dmaRanges is what the kernel tells in the words of package dma.
func dmaRanges(ranges []uapi.IOVARange) []dma.Range {
	list := make([]dma.Range, len(ranges))
	for i, r := range ranges {
		list[i] = dma.Range{First: dma.IOVA(r.Start), Last: dma.IOVA(r.End)}
	}
	return list
}

// usable tells whether the container translates. The caller holds g.mu.
func (g *groups) usable() error {
	switch {
	case g.closed:
		return ErrClosed
	case !g.iommu:
		return errors.New("vfio: no device has been opened, so there is no IOMMU to map memory in yet")
	}
	return nil
}

func (g *groups) close() error {
	errs := []error{g.arena.Close()}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.Join(errs...)
	}
	g.closed = true
	for number, fd := range g.joined {
		errs = append(errs, closeFile(fd, "IOMMU group "+strconv.Itoa(number)))
	}
	return errors.Join(append(errs, closeFile(g.fd, "VFIO container"))...)
}

// dup is a descriptor of a file's own.
func dup(f *os.File) (int, error) { return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) }
