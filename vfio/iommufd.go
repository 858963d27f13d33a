package vfio

import (
	"errors"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

// ioas is an address space of iommufd, for devices that are opened by files of their own. It
// lasts, with its mappings, until it is closed, whatever devices come and go.
type ioas struct {
	kernel iommufdCalls
	dir    string // "/dev/vfio"
	fd     int    // of /dev/iommu
	arena  *dma.Arena

	mu     sync.Mutex
	id     uint32 // 0: not made yet
	closed bool
}

var (
	_ dma.Mapper        = (*ioas)(nil)
	_ dma.RangeReporter = (*ioas)(nil)
	_ space             = (*ioas)(nil)
)

// newIOAS is an address space without devices; it takes over fd.
func newIOAS(k iommufdCalls, dir string, fd int) *ioas { return &ioas{kernel: k, dir: dir, fd: fd} }

func (s *ioas) memory() *dma.Arena { return s.arena }

// deviceNode is the file of a device.
func deviceNode(dir string, info pci.Info) string {
	return filepath.Join(dir, "devices", info.VFIODevice)
}

func (s *ioas) open(info pci.Info) (Files, error) {
	files, err := s.lend(info)
	if err == nil {
		if err = s.join(files.DeviceFD); err != nil {
			return Files{}, errors.Join(s.joinError(info, err), files.Close())
		}
	}
	return files, err
}

// lend opens the file. Only its user can bind it, once and for all, to its own iommufd.
func (s *ioas) lend(info pci.Info) (Files, error) {
	path := deviceNode(s.dir, info)
	fd, err := openFile(path)
	if err != nil {
		return Files{}, nodeError(path, err)
	}
	return Files{Mode: IOMMUFD, Group: info.IOMMUGroup, GroupFD: -1, DeviceFD: fd}, nil
}

func (s *ioas) adopt(files Files) (remap bool, err error) { return false, s.join(files.DeviceFD) }

// join puts a device into the address space, which comes into being with the first one.
func (s *ioas) join(device int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.kernel.BindIOMMUFD(device, s.fd); err != nil {
		return err
	}
	if s.id == 0 {
		id, err := s.kernel.AllocIOAS(s.fd)
		if err == nil && id == 0 {
			err = errors.New("iommufd: the kernel made an address space without a number")
		}
		if err != nil {
			return err
		}
		s.id = id
	}
	return s.kernel.AttachIOAS(device, s.id)
}

// joinError explains why a device does not join.
func (s *ioas) joinError(info pci.Info, err error) error {
	e := &pci.DeviceError{
		Device: info.Address.String(), Problem: "iommufd does not take it", Err: err,
		Remedy: "see dmesg for the reason",
	}
	switch {
	case errors.Is(err, unix.EPERM):
		e.Problem, e.Remedy = problemInterrupts, remedyInterrupts("iommufd")
	case errors.Is(err, unix.EBUSY):
		e.Remedy = "stop the other program or driver that uses the device, or its IOMMU group"
	}
	return e
}

// leave has nothing to do: there is no group, and closing the device's file was all.
func (s *ioas) leave(Files) error { return nil }

// MapDMA lets all devices of the space read and write mem at iova. At least one device must
// have been opened. Unlike type1, iommufd maps memory only: BARs are refused (EFAULT).
func (s *ioas) MapDMA(mem []byte, iova dma.IOVA) error {
	if len(mem) == 0 {
		return errNoMemory
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.kernel.MapIOAS(s.fd, s.id, mem, uint64(iova)); err != nil {
		return mapError(mem, iova, err)
	}
	return nil
}

// UnmapDMA undoes a MapDMA of the same address and size.
func (s *ioas) UnmapDMA(iova dma.IOVA, size uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	unmapped, err := s.kernel.UnmapIOAS(s.fd, s.id, uint64(iova), size)
	return unmapError(iova, size, unmapped, err)
}

// IOVARanges lists the addresses that the IOMMU translates for all devices so far.
func (s *ioas) IOVARanges() ([]dma.Range, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	ranges, alignment, err := s.kernel.IOASRanges(s.fd, s.id)
	if err != nil {
		return nil, err
	}
	if err := checkPages(alignment); err != nil {
		return nil, err
	}
	return dmaRanges(ranges), nil
}

// usable tells whether the space translates. The caller holds s.mu.
func (s *ioas) usable() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.id == 0:
		return errors.New("vfio: no device has been opened, so there is no address space to map memory in yet")
	}
	return nil
}

func (s *ioas) close() error {
	err := s.arena.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return err
	}
	s.closed = true
	return errors.Join(err, closeFile(s.fd, "iommufd"))
}
