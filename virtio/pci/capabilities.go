package virtiopci

import (
	"encoding/binary"
	"fmt"
	"math"

	"vvufwd/vfio/pci"
)

// Structure types of virtio's vendor-specific capabilities (4.1.4). 6 to 8 are
// those of the virtio-vhost-user draft; 8 is also virtio 1.2's shared memory, which
// has the longer form.
const (
	typeCommon       = 1
	typeNotify       = 2
	typeISR          = 3
	typeDevice       = 4
	typeDoorbell     = 6
	typeNotification = 7
	typeSharedMemory = 8
)

// Offsets in a capability, struct virtio_pci_cap and its two longer forms.
const (
	capType       = 3  // u8
	capBAR        = 4  // u8
	capOffset     = 8  // u32
	capLength     = 12 // u32
	capMultiplier = 16 // u32, types 2 and 6
	capOffsetHigh = 16 // u32, 64-bit form
	capLengthHigh = 20 // u32, 64-bit form

	capSize           = 16
	capSizeMultiplier = 20
	capSize64         = 24
)

// maxBAR is the last BAR; higher numbers are reserved and their capabilities are to
// be ignored (4.1.4.1).
const maxBAR = 5

// Location is where a structure lies. The zero value means: not there.
type Location struct {
	BAR     int
	Offset  uint64 // in the BAR
	Length  uint64 // bytes
	Present bool
}

// Capabilities is where a virtio device has its register structures. Of several of
// one type the first counts, because a device lists them in order of preference.
type Capabilities struct {
	Common Location
	Notify Location
	// NotifyMultiplier is the distance in bytes between the notification registers
	// of queues whose queue_notify_off differs by one.
	NotifyMultiplier uint32
	ISR              Location
	Device           Location

	// Only a virtio-vhost-user device has the following.

	// Doorbell is the registers that interrupt the front-end's guest, one each
	// DoorbellMultiplier bytes.
	Doorbell           Location
	DoorbellMultiplier uint32
	// Notification is the registers that choose an MSI-X vector for each kick.
	Notification Location
	// SharedMemory is where the front-end's memory appears. Devices do not agree on
	// what its Length means: do not rely on it.
	SharedMemory Location
}

// ParseCapabilities finds the structures in a copy of a device's configuration
// space. Unknown types, and BAR numbers that virtio reserves, are passed over. It
// fails on capabilities that are too short or whose end is beyond 64 bits; whether
// they fit their BARs is for Open to see.
func ParseCapabilities(config []byte) (Capabilities, error) {
	list, err := pci.Capabilities(config)
	if err != nil {
		return Capabilities{}, err
	}
	var caps Capabilities
	for _, c := range list {
		if c.ID != pci.CapVendor || len(c.Bytes) <= capType {
			continue
		}
		if err := caps.add(c.Bytes); err != nil {
			return Capabilities{}, fmt.Errorf("virtio capability of type %d at 0x%x: %w", c.Bytes[capType], c.Offset, err)
		}
	}
	return caps, nil
}

func (caps *Capabilities) add(b []byte) error {
	var (
		at         *Location
		multiplier *uint32
	)
	switch b[capType] {
	case typeCommon:
		at = &caps.Common
	case typeNotify:
		at, multiplier = &caps.Notify, &caps.NotifyMultiplier
	case typeISR:
		at = &caps.ISR
	case typeDevice:
		at = &caps.Device
	case typeDoorbell:
		at, multiplier = &caps.Doorbell, &caps.DoorbellMultiplier
	case typeNotification:
		at = &caps.Notification
	case typeSharedMemory:
		at = &caps.SharedMemory
	default:
		return nil
	}
	want := capSize
	if multiplier != nil {
		want = capSizeMultiplier
	}
	if len(b) < want {
		return fmt.Errorf("it has %d bytes, want %d", len(b), want)
	}
	location := Location{
		BAR:     int(b[capBAR]),
		Offset:  uint64(binary.LittleEndian.Uint32(b[capOffset:])),
		Length:  uint64(binary.LittleEndian.Uint32(b[capLength:])),
		Present: true,
	}
	if b[capType] == typeSharedMemory && len(b) >= capSize64 {
		location.Offset |= uint64(binary.LittleEndian.Uint32(b[capOffsetHigh:])) << 32
		location.Length |= uint64(binary.LittleEndian.Uint32(b[capLengthHigh:])) << 32
	}
	if location.BAR > maxBAR || at.Present {
		return nil
	}
	if location.Offset > math.MaxUint64-location.Length {
		return fmt.Errorf("0x%x bytes at 0x%x end beyond 64 bits", location.Length, location.Offset)
	}
	*at = location
	if multiplier != nil {
		*multiplier = binary.LittleEndian.Uint32(b[capMultiplier:])
	}
	return nil
}
