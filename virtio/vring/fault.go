package vring

// Fault says how the other side broke the rules of the ring. A ring with a fault
// does no more work until it is built anew; the rest of the program is not
// concerned. Faults are comparable and small, so they can index counters.
type Fault uint8

// The faults that a driver can cause on the device side.
const (
	noFault Fault = iota
	FaultAvailIndex
	FaultHead
	FaultNext
	FaultLoop
	FaultUnmapped
	FaultOrder
	FaultIndirect
	FaultIndirectNext
	FaultIndirectNest
	FaultIndirectSize
	FaultIndirectChain
	FaultLength
	FaultPieces

	// The faults that a device can cause on the driver side.
	FaultUsedIndex
	FaultUsedID
	FaultUsedLen
	FaultUsedOrder

	NumFaults
)

var faultTexts = [NumFaults]string{
	noFault:            "no fault",
	FaultAvailIndex:    "avail.idx is further ahead than the ring is long",
	FaultHead:          "chain head is outside the descriptor table",
	FaultNext:          "next descriptor is outside its table",
	FaultLoop:          "chain is longer than the ring",
	FaultUnmapped:      "buffer is outside guest memory",
	FaultOrder:         "readable descriptor after a writable one",
	FaultIndirect:      "indirect descriptor without the feature",
	FaultIndirectNext:  "indirect descriptor with a next flag",
	FaultIndirectNest:  "indirect descriptor inside an indirect table",
	FaultIndirectSize:  "indirect table size is zero, odd or too long",
	FaultIndirectChain: "indirect descriptor inside a chain of a packed ring",
	FaultLength:        "chain length overflows 32 bits",
	FaultPieces:        "chain lies in more pieces than it can",
	FaultUsedIndex:     "used.idx is further ahead than buffers are outstanding",
	FaultUsedID:        "used element names a buffer that is not outstanding",
	FaultUsedLen:       "used length exceeds the buffer",
	FaultUsedOrder:     "used element names a buffer that is not the next, in spite of IN_ORDER",
}

// String is the rule that was broken, as counters name it.
func (f Fault) String() string { return faultTexts[f] }

// Error makes a Fault an error.
func (f Fault) Error() string { return "ring violation: " + f.String() }
