package vfiouser

import "vvufwd/virtio/mem"

// Region indexes of a PCI device, as in <linux/vfio.h>. RegionBAR0 + n is BAR n.
const (
	RegionBAR0   = 0
	RegionROM    = 6
	RegionConfig = 7
	RegionVGA    = 8

	numRegions = 9
)

// Interrupt indexes of a PCI device, as in <linux/vfio.h>. Only MSI-X is served.
const (
	irqMSIX = 2
	numIRQs = 5
)

// Region describes one region of a device. The zero value is a region that the
// device does not have.
type Region struct {
	Size     uint64 // bytes; 0 if there is no such region
	ReadOnly bool

	// Areas are the parts that the client maps instead of sending messages,
	// page-aligned, sorted, not overlapping. All of them come from the file FD, at
	// file offset FileShift + offset in the region, modulo 2^64: one linear shift
	// per region is all that the protocol can say.
	Areas     []Area
	FD        int // owned by the device; stays open while the device lives
	FileShift uint64
}

// Area is a part of a region.
type Area struct {
	Offset uint64 // in the region
	Size   uint64
}

// Device is a PCI device. A Server calls its methods from one goroutine, one at a
// time; what it describes (Region, Vectors) is constant.
type Device interface {
	// Region describes region index, RegionBAR0 to RegionVGA.
	Region(index int) Region

	// Vectors is the number of MSI-X vectors.
	Vectors() int

	// Read fills p from the region, and Write takes p to it. The access lies
	// within the region; it has any length and alignment. p is the server's.
	Read(region int, offset uint64, p []byte)
	Write(region int, offset uint64, p []byte)

	// Reset puts the device into its state after power-on.
	Reset()

	// Attach is called when a client is there, before any other call for it,
	// and Detach when it is gone. The Host is good for nothing after Detach.
	Attach(h Host)
	Detach()

	// MemoryChanged is called after the client changed the memory of its Host.
	// When it returns the device uses no Table that it got before: memory behind
	// it may go away.
	MemoryChanged()
}

// Host is what the client shares with the device. It is safe for concurrent use.
type Host interface {
	// Memory is the guest's memory as the device may reach it, by IOVA.
	Memory() *mem.Table

	// Signal raises an MSI-X vector. While no eventfd is set for it the
	// interrupt is latched, and raised as soon as one is set: clients take all
	// vectors away for a moment whenever they add one. Vectors that the device
	// does not have are ignored.
	Signal(vector int)

	// Pending tells whether a vector is latched, for the MSI-X pending bits.
	Pending(vector int) bool
}
