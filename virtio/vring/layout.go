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

	// MaxSize is the largest number of entries in a split ring (2.7).
	MaxSize = 32768

	// MaxChain is the largest number of descriptors followed for one buffer.
	// The specification allows as many as the ring has entries; no driver needs
	// more than an iovec can hold, and a bound keeps hostile chains cheap.
	MaxChain = 1024
)

// TableBytes is the size of the descriptor table of a ring with n entries.
func TableBytes(n int) int { return DescSize * n }

// AvailBytes is the size of the avail ring including used_event.
func AvailBytes(n int) int { return 6 + 2*n }

// UsedBytes is the size of the used ring including avail_event.
func UsedBytes(n int) int { return 6 + usedElem*n }

// ErrSize reports a ring size that is not a power of two in 1..MaxSize.
var ErrSize = errors.New("ring size must be a power of two between 1 and 32768")

func checkSize(n int) error {
	if n < 1 || n > MaxSize || n&(n-1) != 0 {
		return ErrSize
	}
	return nil
}

// crosses reports whether going from old to new passes event, the rule by which
// EVENT_IDX decides on a notification (2.7.7.2); all modulo 65536.
func crosses(event, new, old uint16) bool { return new-event-1 < new-old }
