package vfiouser

import (
	"encoding/binary"
	"fmt"
)

// ConfigSize is the size of configuration space: PCI Express's, of which only the
// first 256 bytes are used.
const ConfigSize = 4096

// Offsets in the standard header of configuration space (PCI 3.0, 6.1).
const (
	cfgVendor     = 0x00
	cfgDevice     = 0x02
	cfgCommand    = 0x04
	cfgStatus     = 0x06
	cfgRevision   = 0x08
	cfgClass      = 0x09 // 3 bytes: interface, subclass, base class
	cfgCacheLine  = 0x0c
	cfgBAR0       = 0x10
	cfgSubVendor  = 0x2c
	cfgSubDevice  = 0x2e
	cfgCapPointer = 0x34
	cfgIRQLine    = 0x3c

	cfgHeaderEnd = 0x40
	cfgCapEnd    = 0x100
)

// Identity is what a PCI device says it is.
type Identity struct {
	Vendor, Device       uint16
	SubVendor, SubDevice uint16
	Class                uint32 // 24 bits: base class, subclass, interface
	Revision             uint8
}

// Config is a PCI configuration space: bytes, of which the client may change those
// bits that the standard lets it change. One goroutine owns it.
type Config struct {
	now      [ConfigSize]byte
	initial  [ConfigSize]byte // after a reset
	writable [ConfigSize]byte // bits that the client may change
	next     int              // where the next capability goes
	last     int              // pointer to the last capability
}

// NewConfig returns the configuration space of a device without BARs.
func NewConfig(id Identity) *Config {
	c := &Config{next: cfgHeaderEnd, last: cfgCapPointer}
	le := binary.LittleEndian
	le.PutUint16(c.now[cfgVendor:], id.Vendor)
	le.PutUint16(c.now[cfgDevice:], id.Device)
	le.PutUint16(c.now[cfgSubVendor:], id.SubVendor)
	le.PutUint16(c.now[cfgSubDevice:], id.SubDevice)
	c.now[cfgRevision] = id.Revision
	c.now[cfgClass], c.now[cfgClass+1], c.now[cfgClass+2] = byte(id.Class), byte(id.Class>>8), byte(id.Class>>16)
	le.PutUint16(c.writable[cfgCommand:], 0x0407) // I/O, memory, bus master, INTx disable
	c.writable[cfgCacheLine], c.writable[cfgIRQLine] = 0xff, 0xff
	c.initial = c.now
	return c
}

// BAR is the kind of a base address register.
type BAR struct {
	Size         uint64 // a power of two, at least 16
	Wide         bool   // 64 bits: takes the next index too
	Prefetchable bool
}

// SetBAR makes BAR index a memory BAR.
func (c *Config) SetBAR(index int, b BAR) error {
	slots := 1
	if b.Wide {
		slots = 2
	}
	switch {
	case index < 0 || index+slots > 6:
		return fmt.Errorf("BAR %d does not exist", index)
	case b.Size < 16 || b.Size&(b.Size-1) != 0:
		return fmt.Errorf("BAR %d: size %#x is not a power of two", index, b.Size)
	case !b.Wide && b.Size > 1<<31:
		return fmt.Errorf("BAR %d: size %#x needs 64 bits", index, b.Size)
	}
	at := cfgBAR0 + 4*index
	var kind byte
	if b.Wide {
		kind |= 4
	}
	if b.Prefetchable {
		kind |= 8
	}
	c.now[at], c.initial[at] = kind, kind
	mask := ^(b.Size - 1)
	binary.LittleEndian.PutUint32(c.writable[at:], uint32(mask))
	if b.Wide {
		binary.LittleEndian.PutUint32(c.writable[at+4:], uint32(mask>>32))
	}
	return nil
}

// AddCapability appends a capability: body is what follows the id and the pointer
// to the next one, mask the bits of body that the client may change (nil: none).
func (c *Config) AddCapability(id byte, body, mask []byte) error {
	if c.next+2+len(body) > cfgCapEnd {
		return fmt.Errorf("capability %#x of %d bytes does not fit into configuration space", id, 2+len(body))
	}
	c.now[cfgStatus] |= 0x10 // there is a capability list
	c.now[c.last] = byte(c.next)
	c.now[c.next] = id
	copy(c.now[c.next+2:], body)
	copy(c.writable[c.next+2:c.next+2+len(body)], mask)
	c.last = c.next + 1
	c.next = (c.next + 2 + len(body) + 3) &^ 3
	c.initial = c.now
	return nil
}

// MSIX describes an MSI-X capability (PCI 3.0, 6.8.2).
type MSIX struct {
	Vectors     int // 1 to 2048
	BAR         int // of both structures
	TableOffset uint32
	PBAOffset   uint32
}

// AddMSIX appends an MSI-X capability.
func (c *Config) AddMSIX(m MSIX) error {
	if m.Vectors < 1 || m.Vectors > 2048 {
		return fmt.Errorf("%d MSI-X vectors, want 1 to 2048", m.Vectors)
	}
	body, mask := make([]byte, 10), make([]byte, 10)
	le := binary.LittleEndian
	le.PutUint16(body[0:], uint16(m.Vectors-1))
	le.PutUint16(mask[0:], 0xc000) // enable, function mask
	le.PutUint32(body[2:], m.TableOffset|uint32(m.BAR))
	le.PutUint32(body[6:], m.PBAOffset|uint32(m.BAR))
	return c.AddCapability(0x11, body, mask)
}

// Read fills p with the bytes at offset, which must lie in configuration space.
func (c *Config) Read(offset uint64, p []byte) { copy(p, c.now[offset:]) }

// Write changes those bits at offset that may be changed.
func (c *Config) Write(offset uint64, p []byte) {
	for i, b := range p {
		at := offset + uint64(i)
		w := c.writable[at]
		c.now[at] = c.now[at]&^w | b&w
	}
}

// Reset undoes all changes of the client.
func (c *Config) Reset() { c.now = c.initial }
