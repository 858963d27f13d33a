package pci

import (
	"encoding/binary"
	"fmt"
)

// Capability ids that this project meets.
const (
	CapPowerManagement uint8 = 0x01
	CapMSI             uint8 = 0x05
	CapVendor          uint8 = 0x09
	CapExpress         uint8 = 0x10
	CapMSIX            uint8 = 0x11
)

// Offsets in the header of configuration space (PCI 3.0, 6.1).
const (
	OffsetVendor       = 0x00 // u16
	OffsetDevice       = 0x02 // u16
	OffsetCommand      = 0x04 // u16
	OffsetStatus       = 0x06 // u16
	OffsetRevision     = 0x08 // u8
	OffsetSubVendor    = 0x2c // u16
	OffsetSubDevice    = 0x2e // u16
	offsetCapabilities = 0x34 // u8

	statusCapabilityList = 1 << 4
)

// Bits of the command register.
const (
	CommandMemory    uint16 = 1 << 1 // answer to memory accesses
	CommandBusMaster uint16 = 1 << 2 // may start transfers: DMA and MSI
)

const (
	headerSize = 0x40  // capabilities follow the header
	legacySize = 0x100 // and within the first 256 bytes
)

// Capability is an entry of the capability list.
type Capability struct {
	ID     uint8
	Offset int // in configuration space
	// Bytes is the capability from its id on. It ends where the capability does if
	// its length is known (vendor-specific, MSI, MSI-X, power management), else at
	// the end of the first 256 bytes. It shares memory with the configuration
	// space it was found in.
	Bytes []byte
}

// Capabilities walks the capability list of a configuration space, of which at
// least 64 bytes must be given; whatever lies beyond byte 256 is ignored. It
// returns the capabilities in list order. The bytes are not trusted: a list that
// loops, leaves the space or overlaps the header is an error, and what
// was found before the fault is returned with it.
func Capabilities(config []byte) ([]Capability, error) {
	if len(config) < headerSize {
		return nil, fmt.Errorf("pci: configuration space of %d bytes: want at least %d", len(config), headerSize)
	}
	if len(config) > legacySize {
		config = config[:legacySize]
	}
	if binary.LittleEndian.Uint16(config[OffsetStatus:])&statusCapabilityList == 0 {
		return nil, nil
	}
	var (
		list []Capability
		seen [legacySize / 4]bool
	)
	// The two low bits of a pointer are reserved and to be masked.
	for at := int(config[offsetCapabilities] &^ 3); at != 0; at = int(config[at+1] &^ 3) {
		switch {
		case at < headerSize || at+2 > len(config):
			return list, fmt.Errorf("pci: capability list points to 0x%x, outside 0x%x..0x%x", at, headerSize, len(config))
		case seen[at/4]:
			return list, fmt.Errorf("pci: capability list loops at 0x%x", at)
		}
		seen[at/4] = true
		bytes, err := capabilityBytes(config[at:])
		if err != nil {
			return list, fmt.Errorf("pci: capability 0x%02x at 0x%x: %w", config[at], at, err)
		}
		list = append(list, Capability{ID: config[at], Offset: at, Bytes: bytes})
	}
	return list, nil
}

// capabilityBytes cuts rest, which starts with a capability and has at least two
// bytes, to the length of the capability.
func capabilityBytes(rest []byte) ([]byte, error) {
	length := len(rest)
	switch rest[0] {
	case CapPowerManagement:
		length = 8
	case CapMSIX:
		length = 12
	case CapMSI:
		if len(rest) < 4 {
			return nil, fmt.Errorf("runs out of the space")
		}
		length = 10
		control := binary.LittleEndian.Uint16(rest[2:])
		if control&(1<<7) != 0 { // 64-bit address
			length += 4
		}
		if control&(1<<8) != 0 { // mask and pending bits, after 2 bytes of padding
			length += 10
		}
	case CapVendor:
		if len(rest) < 3 {
			return nil, fmt.Errorf("runs out of the space")
		}
		if length = int(rest[2]); length < 3 {
			return nil, fmt.Errorf("claims a length of %d bytes", length)
		}
	}
	if length > len(rest) {
		return nil, fmt.Errorf("of %d bytes runs out of the space", length)
	}
	return rest[:length:length], nil
}
