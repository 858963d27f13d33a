package vfio

import (
	"fmt"
	"sync/atomic"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// Held is what another process holds besides the one that uses it: devices that no IOMMU
// confines, and the memory that they are told of. Should the user be killed, the kernel closes
// its files in an order of its own, and a device whose memory has gone before it was stopped
// writes into whatever the kernel has put there. So the holder first stops the devices
// (StopDMA), then closes them, which resets them if they can be, and only then the memory.
type Held struct {
	Memory  int                 // descriptor, if there are devices
	Devices map[pci.Address]int // descriptors
}

// Held is what there is to hold. The descriptors stay b's, or its container's.
func (b *Bare) Held() Held {
	if b == nil {
		return Held{}
	}
	h := Held{Memory: int(b.pages.File().Fd()), Devices: map[pci.Address]int{}}
	for addr, f := range b.files {
		h.Devices[addr] = f.DeviceFD
	}
	return h
}

// StopDMA keeps a device from doing DMA, in configuration space, for one that has nothing but
// the device's file. Of a device that is gone nothing is left to be kept from that.
func StopDMA(device int) error { return stopDMA(linux, device) }

func stopDMA(k deviceCalls, fd int) error {
	r, err := queryRegion(k, fd, uapi.PCIConfigRegion, "configuration space")
	if err == nil && r.size < pci.OffsetCommand+2 {
		err = fmt.Errorf("%s has only %d bytes", r.name, r.size)
	}
	if err != nil {
		return fmt.Errorf("stop a device's DMA: %w", err)
	}
	config := fileSpace{fd: fd, name: r.name, offset: r.offset, size: r.size, failed: new(atomic.Pointer[error])}
	const gone = 0xffff // what cannot be read reads the same
	command := config.Load16(pci.OffsetCommand)
	if command != gone && command&pci.CommandBusMaster != 0 {
		config.Store16(pci.OffsetCommand, command&^pci.CommandBusMaster)
		command = config.Load16(pci.OffsetCommand)
	}
	if command != gone && command&pci.CommandBusMaster != 0 {
		return fmt.Errorf("stop a device's DMA: the bus master bit stays set (command register 0x%04x)", command)
	}
	return nil
}
