package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/uapi"
)

// maxMSIX is the most vectors a function can have (PCI 3.0, 6.8.2.3).
const maxMSIX = 2048

// MSIXCount is how many MSI-X vectors the device has.
func (d *Device) MSIXCount() int { return d.msixCount }

// EnableMSIX enables vectors 0 to n-1, each with an eventfd of its own. Ask for all
// vectors that will ever be needed: they cannot be added later.
func (d *Device) EnableMSIX(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrClosed
	case d.vectors != nil:
		return fmt.Errorf("%v: enable MSI-X: %d vectors are enabled already", d.addr, len(d.vectors))
	case n < 1 || n > d.msixCount:
		return fmt.Errorf("%v: enable %d MSI-X vectors: the device has %d", d.addr, n, d.msixCount)
	}
	vectors, err := newEventfds(n)
	if err != nil {
		return fmt.Errorf("%v: enable %d MSI-X vectors: %w", d.addr, n, err)
	}
	got, err := d.container.kernel.SetIRQEventfds(d.fd, uapi.PCIMSIXIRQ, vectors)
	switch {
	case err == nil && got > 0:
		err = fmt.Errorf("the machine has only %d to give", got)
	case errors.Is(err, unix.ENOSPC):
		// Each CPU has some 200 on x86.
		err = fmt.Errorf("the machine has not so many to give, use fewer or add CPUs: %w", err)
	case errors.Is(err, unix.ENODEV):
		// Seen where an IOMMU remaps interrupts, and the device is behind a bridge that bypasses it.
		err = fmt.Errorf("the kernel finds nothing that would deliver them; where an IOMMU that this device bypasses remaps interrupts, "+
			"start the machine without that (intremap=off, and --allow-unsafe-interrupts): %w", err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%v: enable %d MSI-X vectors: %w", d.addr, n, err), closeEventfds(vectors))
	}
	d.vectors = vectors
	return nil
}

// Vector is the non-blocking eventfd of vector i, or -1 when it is not enabled. The
// device owns it: it is closed by DisableMSIX and Close.
func (d *Device) Vector(i int) (fd int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i < 0 || i >= len(d.vectors) {
		return -1
	}
	return d.vectors[i]
}

// TakeVector resets the eventfd of vector i and returns how many interrupts came
// since the last time. It does not block.
func (d *Device) TakeVector(i int) (uint64, error) {
	fd := d.Vector(i)
	if fd < 0 {
		return 0, fmt.Errorf("%v: MSI-X vector %d is not enabled", d.addr, i)
	}
	var b [8]byte
	for {
		switch _, err := unix.Read(fd, b[:]); err {
		case nil:
			return binary.NativeEndian.Uint64(b[:]), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("%v: read MSI-X vector %d: %w", d.addr, i, err)
		}
	}
}

// DisableMSIX switches all vectors off and closes their eventfds. Without enabled
// vectors it does nothing.
func (d *Device) DisableMSIX() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	return d.disableMSIX()
}

// disableMSIX is DisableMSIX for a caller who holds d.mu.
func (d *Device) disableMSIX() error {
	if d.vectors == nil {
		return nil
	}
	vectors := d.vectors
	d.vectors = nil
	var errs []error
	if err := d.container.kernel.DisableIRQs(d.fd, uapi.PCIMSIXIRQ); err != nil {
		errs = append(errs, fmt.Errorf("disable MSI-X: %w", err))
	}
	return errors.Join(append(errs, closeEventfds(vectors))...)
}

func newEventfds(n int) ([]int, error) {
	fds := make([]int, 0, n)
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			if errors.Is(err, unix.EMFILE) {
				err = fmt.Errorf("too few file descriptors allowed; raise the limit (ulimit -n): %w", err)
			}
			return nil, errors.Join(err, closeEventfds(fds))
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func closeEventfds(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, closeFile(fd, "eventfd"))
	}
	return errors.Join(errs...)
}
