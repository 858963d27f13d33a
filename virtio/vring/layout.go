package vring

import "errors"

// Desc is one split-ring descriptor (2.7.5), as copied out of shared memory.
type Desc struct {
	Addr  uint64 // guest-physical address or IOVA of the buffer
	Len   uint32 // bytes
	Flags uint16 // DescNext | DescWrite | DescIndirect
	Next  uint16 // next descriptor of the chain if DescNext is set
}

// Descriptor flags.
const (
	DescNext     uint16 = 1 // the chain continues at Next
	DescWrite    uint16 = 2 // the device writes this buffer, else it reads it
	DescIndirect uint16 = 4 // the buffer is a table of descriptors
)

// Descriptor flags of a packed ring alone (2.8.1). A descriptor is available to the
// device if the first bit is the driver's wrap counter and the second is not; used
// if both are the device's wrap counter.
const (
	DescAvail uint16 = 1 << 7
	DescUsed  uint16 = 1 << 15
)

// What the event suppression areas of a packed ring ask for (2.8.10): every
// notification, none, or with EVENT_IDX the one for a certain descriptor.
const (
	eventEnable  uint16 = 0
	EventDisable uint16 = 1
	EventDesc    uint16 = 2
	eventMask    uint16 = 3 // the other bits are reserved
)

// Ring flags (without EVENT_IDX): a side that set its flag does not want
// notifications.
const (
	availNoInterrupt uint16 = 1
	usedNoNotify     uint16 = 1
)

// Sizes in bytes, and the limits of a ring.
const (
	DescSize = 16 // one descriptor
	usedElem = 8  // one used element: u32 id, u32 len

	// EventBytes is the size of each event suppression area of a packed ring.
	EventBytes = 4

	// MaxSize is the largest number of entries in a ring (2.7, 2.8.10.1).
	MaxSize = 32768

	// MaxChain is the largest number of descriptors followed for one buffer.
	// The specification allows as many as the ring has entries, and drivers put more
	// in a table; none needs more than an iovec can hold, and a bound keeps hostile
	// chains cheap.
	MaxChain = 1024
)

// TableBytes is the size of the descriptor table of a ring with n entries.
func TableBytes(n int) int { return DescSize * n }

// AvailBytes is the size of the avail ring including used_event.
func AvailBytes(n int) int { return 6 + 2*n }

// UsedBytes is the size of the used ring including avail_event.
func UsedBytes(n int) int { return 6 + usedElem*n }

// Areas are the sizes of the three parts of a ring with n entries, in the order in
// which transports name them. Of a split ring these are descriptor table, avail ring
// and used ring; of a packed ring descriptor ring, driver and device event area.
func Areas(n int, packed bool) (desc, avail, used int) {
	if packed {
		return TableBytes(n), EventBytes, EventBytes
	}
	return TableBytes(n), AvailBytes(n), UsedBytes(n)
}

// AreaNames are the names of the parts that Areas gives the sizes of.
func AreaNames(packed bool) [3]string {
	if packed {
		return [3]string{"descriptor ring", "driver event area", "device event area"}
	}
	return [3]string{"descriptor table", "avail ring", "used ring"}
}

// ErrSize reports the size of a split ring that is not a power of two in 1..MaxSize.
var ErrSize = errors.New("ring size must be a power of two between 1 and 32768")

// ErrPackedSize reports the size of a packed ring that is not in 1..MaxSize.
var ErrPackedSize = errors.New("packed ring size must be between 1 and 32768")

func checkSize(n int, packed bool) error {
	switch inRange := n >= 1 && n <= MaxSize; {
	case packed && !inRange:
		return ErrPackedSize
	case !packed && (!inRange || n&(n-1) != 0):
		return ErrSize
	}
	return nil
}

// crosses reports whether going from old to new passes event, the rule by which
// EVENT_IDX decides on a notification (2.7.7.2); all modulo 65536.
func crosses(event, new, old uint16) bool { return new-event-1 < new-old }
