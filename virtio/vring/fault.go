package vring

// Fault says how the other side broke the rules of the ring. A ring with a fault
// does no more work until it is built anew; the rest of the program is not
// concerned. Faults are comparable, so they can key counters.
type Fault string

// Error makes a Fault an error.
func (f Fault) Error() string { return "ring violation: " + string(f) }

// The faults that a driver can cause on the device side.
const (
	FaultAvailIndex   Fault = "avail.idx is further ahead than the ring is long"
	FaultHead         Fault = "chain head is outside the descriptor table"
	FaultNext         Fault = "next descriptor is outside its table"
	FaultLoop         Fault = "chain is longer than the ring"
	FaultUnmapped     Fault = "buffer is outside guest memory"
	FaultOrder        Fault = "readable descriptor after a writable one"
	FaultIndirect     Fault = "indirect descriptor without the feature"
	FaultIndirectNext Fault = "indirect descriptor with a next flag"
	FaultIndirectNest Fault = "indirect descriptor inside an indirect table"
	FaultIndirectSize Fault = "indirect table size is zero, odd or too long"
	FaultLength       Fault = "chain length overflows 32 bits"
	FaultDirection    Fault = "buffer has the wrong direction for this ring"
	FaultEmpty        Fault = "buffer is empty or shorter than its header"
)

// The faults that a device can cause on the driver side.
const (
	FaultUsedIndex Fault = "used.idx is further ahead than buffers are outstanding"
	FaultUsedID    Fault = "used element names a buffer that is not outstanding"
	FaultUsedLen   Fault = "used length exceeds the buffer"
)
