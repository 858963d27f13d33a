package vvutest

import (
	"encoding/binary"

	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

// Layout of the fork (contract 1.1), page-per-vq=off.
const (
	barResources = 2
	barRegisters = 4

	doorbellsAt     = 0x0000
	doorbellStride  = 4
	notificationsAt = 0x2000
	sharedMemoryAt  = 0x3000

	commonAt         = 0x0000
	isrAt            = 0x1000
	deviceConfigAt   = 0x2000
	notifyAt         = 0x3000
	notifyStride     = 4
	barRegistersSize = 0x4000
)

// Common configuration registers (virtio 1.3, 4.1.4.3).
const (
	commonOfferSelect  = 0x00
	commonOffer        = 0x04
	commonDriverSelect = 0x08
	commonDriver       = 0x0c
	commonConfigVector = 0x10
	commonNumQueues    = 0x12
	commonStatus       = 0x14
	commonGeneration   = 0x15
	commonQueueSelect  = 0x16
	commonQueueSize    = 0x18
	commonQueueVector  = 0x1a
	commonQueueEnable  = 0x1c
	commonQueueNotify  = 0x1e
	commonQueueDesc    = 0x20
	commonQueueAvail   = 0x28
	commonQueueUsed    = 0x30
)

// commonWidths is the width in bytes of each register; those of 64 bits are
// written in two halves.
var commonWidths = map[uint64]int{
	commonOfferSelect: 4, commonOffer: 4, commonDriverSelect: 4, commonDriver: 4,
	commonConfigVector: 2, commonNumQueues: 2, commonStatus: 1, commonGeneration: 1,
	commonQueueSelect: 2, commonQueueSize: 2, commonQueueVector: 2, commonQueueEnable: 2, commonQueueNotify: 2,
	commonQueueDesc: 4, commonQueueDesc + 4: 4, commonQueueAvail: 4, commonQueueAvail + 4: 4,
	commonQueueUsed: 4, commonQueueUsed + 4: 4,
}

// Device configuration (contract 2.1).
const (
	configStatus = 0
	configQueues = 4
	configUUID   = 8
	configSize   = 24

	statusDriverUp   = 1
	statusFrontendUp = 2
)

// Capability types.
const (
	CapCommon       = 1
	CapNotify       = 2
	CapISR          = 3
	CapDevice       = 4
	CapDoorbell     = 6
	CapNotification = 7
	CapSharedMemory = 8
)

// forkConfigSpace describes the device in its modern form, the additional
// capabilities before the usual ones, as they come out in the fork.
func forkConfigSpace(without byte) []byte {
	b := make([]byte, 256)
	le := binary.LittleEndian
	le.PutUint16(b[pci.OffsetVendor:], virtio.PCIVendor)
	le.PutUint16(b[pci.OffsetDevice:], virtio.ModernIDBase+virtio.DeviceVhostUser)
	le.PutUint16(b[pci.OffsetSubVendor:], virtio.PCIVendor)
	le.PutUint16(b[pci.OffsetSubDevice:], 0x1100)
	b[pci.OffsetRevision] = 1
	b[pci.OffsetStatus] = 1 << 4 // there is a capability list
	link := 0x34
	at := 0x40
	for _, c := range []struct {
		kind, bar      byte
		offset, length uint32
		extra          []uint32
	}{
		{CapSharedMemory, barResources, sharedMemoryAt, 0x1000, nil}, // the length means nothing
		{CapNotification, barResources, notificationsAt, 0x1000, nil},
		{CapDoorbell, barResources, doorbellsAt, 0x2000, []uint32{doorbellStride}},
		{CapNotify, barRegisters, notifyAt, 0x1000, []uint32{notifyStride}},
		{CapDevice, barRegisters, deviceConfigAt, 0x1000, nil},
		{CapISR, barRegisters, isrAt, 0x1000, nil},
		{CapCommon, barRegisters, commonAt, 0x1000, nil},
	} {
		if c.kind == without {
			continue
		}
		b[link] = byte(at)
		link = at + 1
		b[at], b[at+2], b[at+3], b[at+4] = pci.CapVendor, byte(16+4*len(c.extra)), c.kind, c.bar
		le.PutUint32(b[at+8:], c.offset)
		le.PutUint32(b[at+12:], c.length)
		for i, v := range c.extra {
			le.PutUint32(b[at+16+4*i:], v)
		}
		at += 16 + 4*len(c.extra)
	}
	return b
}
