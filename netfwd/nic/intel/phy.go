package intel

import (
	"fmt"
	"time"
)

// Fields of MDIC, through which the registers of the PHY are read and written (82574 chapter
// 10, 82576 chapter 8).
const (
	mdicRegShift = 16
	mdicPHY      = 1 << 21 // the address of the internal PHY is 1
	mdicWrite    = 1 << 26
	mdicRead     = 2 << 26
	mdicReady    = 1 << 28
	mdicError    = 1 << 30
)

// Registers of a PHY, and bits of the first (IEEE 802.3, 22.2.4).
const (
	phyControl = 0

	phyFullDuplex  = 1 << 8
	phyRenegotiate = 1 << 9
	phyNegotiate   = 1 << 12
	phySpeed1000   = 1 << 6
)

// An access takes some 64 microseconds.
const phyLimit = 10 * time.Millisecond

// phyAccess sends one command to the PHY and returns the 16 bits of data.
func (r *Registers) phyAccess(command uint32) (uint16, error) {
	r.Store(RegMDIC, command)
	if err := r.Await(RegMDIC, mdicReady, mdicReady, phyLimit, "an answer of the PHY"); err != nil {
		return 0, err
	}
	v := r.Load(RegMDIC)
	if v&mdicError != 0 {
		return 0, fmt.Errorf("%s: the PHY cannot be reached (MDIC 0x%08x)", r.name, v)
	}
	return uint16(v), nil
}

// ReadPHY reads a register of the PHY, which must be ours (see the chips' semaphores).
func (r *Registers) ReadPHY(reg uint32) (uint16, error) {
	return r.phyAccess(reg<<mdicRegShift | mdicPHY | mdicRead)
}

// WritePHY writes one.
func (r *Registers) WritePHY(reg uint32, v uint16) error {
	_, err := r.phyAccess(reg<<mdicRegShift | mdicPHY | mdicWrite | uint32(v))
	return err
}

// Renegotiate makes the PHY agree upon a link anew. It takes it from power down as well.
func (r *Registers) Renegotiate() error {
	return r.WritePHY(phyControl, phyNegotiate|phyRenegotiate|phyFullDuplex|phySpeed1000)
}
