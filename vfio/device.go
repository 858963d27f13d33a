package vfio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Device is a PCI function opened through VFIO. It owns its file, its mappings and
// its interrupt eventfds; all end with Close.
//
// Safe for concurrent use, except that nothing may be used during and after Close.
type Device struct {
	container *Container
	space     space // its address space
	addr      pci.Address
	files     Files
	fd        int // of files
	canReset  bool
	bars      [uapi.PCIBAR5Region + 1]region
	config    fileSpace
	msixCount int
	request   int                   // see RequestFD
	failed    atomic.Pointer[error] // first failed register access

	mu       sync.Mutex
	spaces   [uapi.PCIBAR5Region + 1]*barSpace
	mappings [][]byte
	ram      ramBAR // see MapRAM
	vectors  []int  // eventfds
	closed   bool
}

// newDevice takes over the device's file if it succeeds.
func newDevice(c *Container, addr pci.Address, s space, files Files) (*Device, error) {
	k, fd := c.kernel, files.DeviceFD
	d := &Device{container: c, space: s, addr: addr, files: files, fd: fd, request: -1}
	info, err := k.DeviceInfo(fd)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", addr, err)
	}
	if info.Flags&uapi.DevicePCI == 0 || info.NumRegions <= uapi.PCIConfigRegion {
		return nil, fmt.Errorf("%v: VFIO does not treat it as a PCI device (flags 0x%x, %d regions)", addr, info.Flags, info.NumRegions)
	}
	d.canReset = info.Flags&uapi.DeviceReset != 0
	for i := range d.bars {
		if d.bars[i], err = queryRegion(k, fd, uint32(uapi.PCIBAR0Region+i), fmt.Sprintf("BAR %d", i)); err != nil {
			return nil, fmt.Errorf("%v: %w", addr, err)
		}
	}
	config, err := queryRegion(k, fd, uapi.PCIConfigRegion, "configuration space")
	if err != nil {
		return nil, fmt.Errorf("%v: %w", addr, err)
	}
	if config.size < 64 {
		return nil, fmt.Errorf("%v: its configuration space has only %d bytes", addr, config.size)
	}
	d.config = fileSpace{fd: fd, name: config.name, offset: config.offset, size: config.size, failed: &d.failed}
	if info.NumIRQs > uapi.PCIMSIXIRQ {
		irq, err := k.IRQInfo(fd, uapi.PCIMSIXIRQ)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", addr, err)
		}
		if irq.Flags&uapi.IRQEventfd != 0 {
			d.msixCount = int(min(irq.Count, maxMSIX))
		}
	}
	// Registers answer from here on; DMA and interrupts wait for EnableBusMaster.
	d.setCommand(pci.CommandMemory, 0)
	command := d.config.Load16(pci.OffsetCommand)
	if err := d.Err(); err != nil {
		return nil, err
	}
	if command&pci.CommandMemory == 0 {
		return nil, &pci.DeviceError{
			Device: addr.String(), Problem: fmt.Sprintf("does not answer at its registers: memory decoding does not stay enabled (command register 0x%04x)", command),
			Remedy: "look whether firmware and kernel gave its BARs addresses (dmesg), and whether it is powered",
		}
	}
	if err := d.enableRequests(info.NumIRQs); err != nil {
		return nil, fmt.Errorf("%v: %w", addr, err)
	}
	return d, nil
}

// Address is where the device is.
func (d *Device) Address() pci.Address { return d.addr }

// Mode is how the kernel confines the device.
func (d *Device) Mode() Mode { return d.files.Mode }

// Untranslated reports whether no IOMMU is between the device and memory: it is told where
// memory lies in this machine.
func (d *Device) Untranslated() bool { return d.files.Mode == NoIOMMU }

// Arena returns the memory that the device can reach, with all devices of its mode.
func (d *Device) Arena() *dma.Arena { return d.space.memory() }

// Err is the first register access that failed since the last Reset, for a device that has gone away for
// example. Reads that fail give all ones. Mapped registers do not fail this way.
func (d *Device) Err() error {
	if err := d.failed.Load(); err != nil {
		return fmt.Errorf("%v: %w", d.addr, *err)
	}
	return nil
}

// Config is the configuration space as registers.
func (d *Device) Config() mmio.Space { return &d.config }

// ConfigBytes is a copy of the configuration space: 4096 bytes, or 256 for a
// conventional PCI device.
func (d *Device) ConfigBytes() ([]byte, error) {
	size := min(d.config.size, 4096)
	config := make([]byte, size)
	for done := 0; done < len(config); {
		n, err := unix.Pread(d.fd, config[done:], int64(d.config.offset)+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%v: read configuration space at 0x%x: %w", d.addr, done, errors.Join(err, shortRead(n)))
		}
		done += n
	}
	return config, nil
}

func shortRead(n int) error {
	if n == 0 {
		return errors.New("it ends here")
	}
	return nil
}

// EnableBusMaster lets the device do DMA and send interrupts.
func (d *Device) EnableBusMaster() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	const want = pci.CommandMemory | pci.CommandBusMaster
	d.setCommand(want, 0)
	if got := d.config.Load16(pci.OffsetCommand); got&want != want {
		return errors.Join(fmt.Errorf("%v: the bus master bit does not stay set (command register 0x%04x)", d.addr, got), d.Err())
	}
	return d.Err()
}

// DisableBusMaster keeps the device from doing DMA and from sending interrupts, whatever it
// is up to. Of a device that is gone nothing is left to be kept from that.
func (d *Device) DisableBusMaster() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.setCommand(0, pci.CommandBusMaster)
	return d.Err()
}

// setCommand changes bits of the command register.
func (d *Device) setCommand(set, clear uint16) {
	old := d.config.Load16(pci.OffsetCommand)
	if command := old&^clear | set; command != old {
		d.config.Store16(pci.OffsetCommand, command)
	}
}

// Reset resets the whole function, as at power-on; the kernel restores its
// configuration space. It wraps errors.ErrUnsupported when the device has no way
// to be reset alone.
func (d *Device) Reset() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if !d.canReset {
		return fmt.Errorf("%v: reset: %w", d.addr, errors.ErrUnsupported)
	}
	switch err := d.container.kernel.ResetDevice(d.fd); {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTTY):
		// The kernel has promised more than it has found a way for.
		return fmt.Errorf("%v: reset: %w (%w)", d.addr, errors.ErrUnsupported, err)
	case err != nil:
		return fmt.Errorf("%v: reset: %w", d.addr, err)
	}
	d.failed.Store(nil)
	return nil
}

// Close stops the device's DMA, switches its interrupts off, unmaps it and closes
// it; the kernel then resets it if it can. Slices and registers from the device
// must not be used any more. Closing twice is harmless.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.setCommand(0, pci.CommandBusMaster)
	errs := []error{d.disableMSIX()}
	for i := len(d.mappings) - 1; i >= 0; i-- {
		if err := unix.Munmap(d.mappings[i]); err != nil {
			errs = append(errs, fmt.Errorf("unmap BAR memory: %w", err))
		}
	}
	d.mappings = nil
	errs = append(errs, d.ram.unmap())
	errs = append(errs, closeFile(d.fd, "VFIO device"))
	if d.request >= 0 { // the kernel has released it with the device
		errs = append(errs, closeFile(d.request, "eventfd"))
	}
	d.container.forget(d)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%v: %w", d.addr, err)
	}
	return nil
}
