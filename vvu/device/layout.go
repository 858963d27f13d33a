package device

import (
	"encoding/binary"
	"math/bits"

	"vvufwd/virtio"
	"vvufwd/vvu/vfiouser"
)

// MaxQueues is the largest number of vrings: messages name a ring in 8 bits.
const MaxQueues = 256

// BARs. Shared memory has one of its own, which a driver can map as the RAM that it is: Linux
// takes all of a BAR to be registers once VFIO has mapped or accessed a part of it.
const (
	barVirtio    = 0
	barMSIX      = 1
	barResources = 2 // doorbells, notification registers
	barMemory    = 4 // shared memory
)

// minMemoryBAR makes firmware place the BAR above 4 GiB, whatever is in it: below, SeaBIOS has
// processors not cache what is behind BARs.
const minMemoryBAR = 4 << 30

// Layout of barResources, each part a page.
const (
	doorbellOffset     = 0
	doorbellStride     = 4
	doorbellLength     = 0x1000
	notificationOffset = 0x1000
	notificationLength = 0x1000
	resourcesLength    = 0x2000
)

// Layout of barVirtio, each part a page.
const (
	commonOffset = 0x0000
	isrOffset    = 0x1000
	configOffset = 0x2000
	notifyOffset = 0x3000
	notifyStride = 4
	partLength   = 0x1000
	virtioLength = 0x4000
)

// Capability types (virtio 1.3, 4.1.4, and the virtio-vhost-user draft).
const (
	capCommon       = 1
	capNotify       = 2
	capISR          = 3
	capDevice       = 4
	capDoorbell     = 6
	capNotification = 7
	capSharedMemory = 8
)

// layout holds what depends on the configuration.
type layout struct {
	vectors int    // MSI-X vectors: configuration, rxq, txq, and one per vring
	pba     uint32 // offset of the pending bits in barMSIX; the table is at 0
	msix    uint64 // size of barMSIX
	memory  uint64 // size of barMemory
}

func newLayout(queues int, ram uint64) layout {
	l := layout{vectors: queues + 3}
	l.pba = uint32(16*l.vectors+pageSize-1) &^ (pageSize - 1)
	l.msix = powerOfTwo(uint64(l.pba) + pageSize)
	l.memory = max(powerOfTwo(ram), minMemoryBAR)
	return l
}

// powerOfTwo rounds up.
func powerOfTwo(n uint64) uint64 { return 1 << bits.Len64(n-1) }

// newConfigSpace describes the device to PCI.
func newConfigSpace(l layout, ram uint64) (*vfiouser.Config, error) {
	c := vfiouser.NewConfig(vfiouser.Identity{
		Vendor: virtio.PCIVendor, Device: virtio.ModernIDBase + virtio.DeviceVhostUser,
		SubVendor: virtio.PCIVendor, SubDevice: 0x1100, // QEMU's default, as in the fork
		Class: 0x00ff00, Revision: 1,
	})
	for _, b := range []struct {
		index int
		kind  vfiouser.BAR
	}{
		{barVirtio, vfiouser.BAR{Size: virtioLength}},
		{barMSIX, vfiouser.BAR{Size: l.msix}},
		{barResources, vfiouser.BAR{Size: resourcesLength}},
		{barMemory, vfiouser.BAR{Size: l.memory, Wide: true, Prefetchable: true}},
	} {
		if err := c.SetBAR(b.index, b.kind); err != nil {
			return nil, err
		}
	}
	if err := c.AddMSIX(vfiouser.MSIX{Vectors: l.vectors, BAR: barMSIX, PBAOffset: l.pba}); err != nil {
		return nil, err
	}
	for _, body := range [][]byte{
		virtioCap(capCommon, barVirtio, commonOffset, partLength),
		virtioCap(capISR, barVirtio, isrOffset, partLength),
		virtioCap(capDevice, barVirtio, configOffset, partLength),
		virtioCap(capNotify, barVirtio, notifyOffset, partLength, notifyStride),
		virtioCap(capDoorbell, barResources, doorbellOffset, doorbellLength, doorbellStride),
		virtioCap(capNotification, barResources, notificationOffset, notificationLength),
		// The 64-bit form of virtio 1.2: high words of offset and length follow.
		virtioCap(capSharedMemory, barMemory, 0, uint32(ram), 0, uint32(ram>>32)),
	} {
		if err := c.AddCapability(0x09, body, nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// virtioCap builds a vendor capability (contract 1.2) without its first two bytes.
func virtioCap(kind, bar byte, offset, length uint32, extra ...uint32) []byte {
	le := binary.LittleEndian
	b := []byte{byte(16 + 4*len(extra)), kind, bar, 0, 0, 0}
	b = le.AppendUint32(b, offset)
	b = le.AppendUint32(b, length)
	for _, v := range extra {
		b = le.AppendUint32(b, v)
	}
	return b
}
