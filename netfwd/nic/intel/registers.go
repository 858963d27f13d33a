package intel

import (
	"fmt"
	"time"

	"vvufwd/vfio/mmio"
)

// Registers that the whole family has at the same place (82574 chapter 10, 82576 chapter 8).
const (
	RegCTRL    = 0x0000
	RegSTATUS  = 0x0008
	RegEECD    = 0x0010
	RegCTRLExt = 0x0018
	RegMDIC    = 0x0020
	RegRCTL    = 0x0100
	RegTCTL    = 0x0400
	RegTIPG    = 0x0410
	RegRXCSUM  = 0x5000
	RegMTA     = 0x5200 // 128 words
	RegRAL0    = 0x5400
	RegRAH0    = 0x5404
	RegMRQC    = 0x5818
	RegRETA    = 0x5c00 // 128 bytes
	RegRSSRK   = 0x5c80 // 40 bytes
)

// Bits of CTRL.
const (
	CtrlFD            = 1 << 0 // full duplex
	CtrlMasterDisable = 1 << 2
	CtrlASDE          = 1 << 5 // take the speed from the PHY
	CtrlSLU           = 1 << 6 // set link up: let the PHY talk to the MAC
	CtrlForceSpeed    = 1 << 11
	CtrlForceDuplex   = 1 << 12
	CtrlReset         = 1 << 26
	CtrlRxFlow        = 1 << 27
	CtrlTxFlow        = 1 << 28
	CtrlVME           = 1 << 30 // take VLAN tags out of frames
	CtrlPHYReset      = 1 << 31
)

// Bits of STATUS and others.
const (
	StatusLinkUp  = 1 << 1
	StatusGigabit = 1 << 7  // of the speed: 1000 Mb/s, else 10 or 100
	StatusMaster  = 1 << 19 // bus master enabled, or transactions pending

	EECDAutoRead = 1 << 9 // the EEPROM has been read into the chip

	CtrlExtDriverLoaded = 1 << 28

	InterruptLink = 1 << 2 // in ICR and IMS: the link has changed
)

// Bits of RCTL and TCTL.
const (
	RctlEnable    = 1 << 1
	RctlUnicast   = 1 << 3 // frames for any address
	RctlMulticast = 1 << 4 // for any group
	RctlLong      = 1 << 5
	RctlBroadcast = 1 << 15
	RctlStripCRC  = 1 << 26

	TctlEnable = 1 << 1
	TctlPad    = 1 << 3 // short frames to 64 bytes
)

// allOnes is what every register of a function reads as that is not there any more.
const allOnes = ^uint32(0)

// Registers are those of a chip.
type Registers struct {
	space mmio.Space
	name  string

	// ICR, IMS and IMC are where the registers of interrupts that are no queue's lie, which
	// is not the same place in all chips: what caused one, and to unmask and to mask it.
	ICR, IMS, IMC uint64
}

// NewRegisters are those in a BAR of the function with that name, which has least bytes of
// them or more.
func NewRegisters(space mmio.Space, name string, least uint64) (*Registers, error) {
	if space.Len() < least {
		return nil, fmt.Errorf("%s: has 0x%x bytes of registers, where there should be 0x%x", name, space.Len(), least)
	}
	return &Registers{space: space, name: name}, nil
}

// Load reads a register.
func (r *Registers) Load(off uint64) uint32 { return r.space.Load32(off) }

// Store writes one. It may be on its way for some time: Flush waits.
func (r *Registers) Store(off uint64, v uint32) { r.space.Store32(off, v) }

// Change sets and clears bits of a register.
func (r *Registers) Change(off uint64, set, clear uint32) { r.Store(off, r.Load(off)&^clear|set) }

// Flush returns when the chip has all that was stored.
func (r *Registers) Flush() { r.Load(RegSTATUS) }

// Absent reports whether the function is gone, which has nothing that reads as all ones in
// this place.
func (r *Registers) Absent() bool { return r.Load(RegSTATUS) == allOnes }

// Await waits until the bits of mask are as in want, or returns an error that says what was
// waited for.
func (r *Registers) Await(off uint64, mask, want uint32, limit time.Duration, what string) error {
	const step = 500 * time.Microsecond
	for deadline := time.Now().Add(limit); ; time.Sleep(step) {
		if r.Load(off)&mask == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s does not happen within %v (register 0x%x is 0x%08x)", r.name, what, limit, off, r.Load(off))
		}
	}
}

// Part is some registers by themselves, for a queue that needs no others.
func (r *Registers) Part(off, n uint64) (mmio.Space, error) {
	space, err := mmio.Sub(r.space, off, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return space, nil
}
