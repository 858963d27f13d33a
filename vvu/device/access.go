package device

import (
	"go.uber.org/zap"

	"vvufwd/vvu/vfiouser"
)

// Read implements vfiouser.Device. What is not a register reads as zero.
func (d *Device) Read(region int, offset uint64, p []byte) {
	clear(p)
	if region == barMemory {
		d.readRAM(offset, p)
		return
	}
	d.mu.Lock()
	defer d.unlock()
	switch region {
	case vfiouser.RegionConfig:
		d.pci.Read(offset, p)
	case barMSIX:
		d.readMSIX(offset, p)
	case barResources:
		if offset >= notificationOffset {
			image := d.notification()
			window(image[:], offset-notificationOffset, p)
		}
	case barVirtio:
		switch part := offset &^ (partLength - 1); part {
		case commonOffset:
			image := d.common()
			window(image[:], offset-part, p)
		case isrOffset:
			d.readISR(offset-part, p)
		case configOffset:
			image := d.config()
			window(image[:], offset-part, p)
		}
	}
}

// Write implements vfiouser.Device. Writes to what is not a register are lost.
func (d *Device) Write(region int, offset uint64, p []byte) {
	if region == barMemory {
		d.writeRAM(offset, p)
		return
	}
	d.mu.Lock()
	defer d.unlock()
	switch region {
	case vfiouser.RegionConfig:
		d.pci.Write(offset, p)
	case barMSIX:
		if offset < uint64(len(d.table)) {
			copy(d.table[offset:], p)
		}
	case barResources:
		if offset >= notificationOffset {
			d.writeNotification(offset-notificationOffset, p)
		} else {
			d.doorbell(offset)
		}
	case barVirtio:
		switch part := offset &^ (partLength - 1); part {
		case commonOffset:
			d.writeCommon(offset-part, p)
		case configOffset:
			d.writeConfig(offset-part, p)
		case notifyOffset:
			d.notify(offset - part)
		}
	}
}

// window copies to p what image has at offset.
func window(image []byte, offset uint64, p []byte) {
	if offset < uint64(len(image)) {
		copy(p, image[offset:])
	}
}

// readMSIX reads the MSI-X table, and pending bits made of what is latched.
func (d *Device) readMSIX(offset uint64, p []byte) {
	window(d.table, offset, p)
	for i := range p {
		at := offset + uint64(i)
		if at < uint64(d.layout.pba) || d.host == nil {
			continue
		}
		for bit := range 8 {
			if d.host.Pending(int(at-uint64(d.layout.pba))*8 + bit) {
				p[i] |= 1 << bit
			}
		}
	}
}

// readRAM and writeRAM serve a client that does not map the shared memory. They
// go through the file, where a hole or an early end is an error and not a signal.
func (d *Device) readRAM(offset uint64, p []byte) {
	if offset >= d.ram.size {
		return
	}
	n := min(uint64(len(p)), d.ram.size-offset)
	if _, err := d.ram.file.ReadAt(p[:n], int64(offset)); err != nil {
		d.log.Warn("reading the app VM's memory", zap.String("file", d.ram.path), zap.Error(err))
	}
}

func (d *Device) writeRAM(offset uint64, p []byte) {
	if offset >= d.ram.size {
		return
	}
	n := min(uint64(len(p)), d.ram.size-offset)
	if _, err := d.ram.file.WriteAt(p[:n], int64(offset)); err != nil {
		d.log.Warn("writing the app VM's memory", zap.String("file", d.ram.path), zap.Error(err))
	}
}
