package vringtest

import "vvufwd/virtio/mem"

// TB is what NewPair needs of a test: a *testing.T, a *testing.B, a *testing.F
// or a *rapid.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Config says what kind of ring to join. The zero value is a ring of 256 entries
// without features, and one region of 1 MiB for buffers.
type Config struct {
	Size     int  // entries; 256 if 0
	Packed   bool // VIRTIO_F_RING_PACKED; Size is any number then
	EventIdx bool // both sides use VIRTIO_F_EVENT_IDX
	Indirect bool // both sides use VIRTIO_F_INDIRECT_DESC
	InOrder  bool // both sides use VIRTIO_F_IN_ORDER
	ReadOnly bool // the device only reads

	NotifyOnEmpty bool // the device side is to interrupt when nothing is left, see vring.DeviceConfig
	AnyUsedLen    bool // the driver side allows used lengths that exceed their buffers

	// IndirectParts is the length of the driver's indirect tables in descriptors;
	// if 0, 8 or what the ring's size allows. A ring of one entry has no tables:
	// there is no table shorter than a chain of two.
	IndirectParts int

	// Start is where the indices of both sides begin: that many buffers of one part are
	// sent through the ring first, so that their bookkeeping is real.
	Start uint16

	// AvailAt2Mod4 makes a ring for the device side only, with the avail ring at
	// an address of 2 modulo 4, as 2.7 allows. Driver is nil then. Not with Packed.
	AvailAt2Mod4 bool

	RingBase mem.GPA // address of the ring's region; 0x10000 if 0
	HeapBase mem.GPA // address of the first buffer region; 0x1_0000_0000 if 0

	// HeapBytes is the memory for buffers; 1 MiB if 0. It is divided into Regions
	// (1 if 0) of equal size, each a multiple of 16 bytes, that are adjacent in
	// guest-physical space and apart, in reverse order, in ours.
	HeapBytes int
	Regions   int

	OffHeap bool // map the memory instead of taking it from the Go heap
}

func (c *Config) setDefaults() {
	if c.Size == 0 {
		c.Size = 256
	}
	if c.IndirectParts == 0 {
		c.IndirectParts = min(8, c.Size)
	}
	if c.RingBase == 0 {
		c.RingBase = 0x10000
	}
	if c.HeapBase == 0 {
		c.HeapBase = 0x1_0000_0000
	}
	if c.HeapBytes == 0 {
		c.HeapBytes = 1 << 20
	}
	if c.Regions == 0 {
		c.Regions = 1
	}
}
