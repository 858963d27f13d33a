package intel

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// How long a chip may take. The datasheets have 100 ms for the EEPROM (82576 chapter 3) and
// 80 ms for transactions that are under way (Linux waits as long, too).
const (
	masterLimit = 80 * time.Millisecond
	resetLimit  = 100 * time.Millisecond
	eepromLimit = 200 * time.Millisecond
	resetPause  = 10 * time.Millisecond // nothing may be read for 1 ms (82574 chapter 4)
)

// Reset stops whatever a chip is doing, and resets it (82574 chapter 4, 82576 chapter 4):
// interrupts off, no more transactions, then a global reset, after which it has read its
// EEPROM again and interrupts are off again. What it read or wrote before, it does no more.
func (r *Registers) Reset() error {
	if r.Absent() {
		return fmt.Errorf("%s: all its registers read as ones", r.name)
	}
	r.Store(r.IMC, ^uint32(0))
	r.Store(RegRCTL, 0)
	r.Store(RegTCTL, TctlPad)
	r.Change(RegCTRL, CtrlMasterDisable, 0)
	// Should transactions not end, the reset ends them: what is in the way of the PCI bus
	// has no other remedy.
	_ = r.Await(RegSTATUS, StatusMaster, 0, masterLimit, "")
	r.Change(RegCTRL, CtrlReset, 0)
	time.Sleep(resetPause)
	if err := r.Await(RegCTRL, CtrlReset, 0, resetLimit, "the end of the reset"); err != nil {
		return err
	}
	// Cards without an EEPROM have no such bit.
	_ = r.Await(RegEECD, EECDAutoRead, EECDAutoRead, eepromLimit, "")
	r.Store(r.IMC, ^uint32(0))
	r.Load(r.ICR) // which clears it
	return nil
}

// errNoMAC says that neither EEPROM nor whoever emulates the chip has an address for it.
var errNoMAC = errors.New("has no hardware address")

// MAC is the address that the chip has read from its EEPROM (82574 chapter 10).
func (r *Registers) MAC() (net.HardwareAddr, error) {
	low, high := r.Load(RegRAL0), r.Load(RegRAH0)
	mac := net.HardwareAddr{byte(low), byte(low >> 8), byte(low >> 16), byte(low >> 24), byte(high), byte(high >> 8)}
	if low == 0 && uint16(high) == 0 || mac[0]&1 != 0 {
		return nil, fmt.Errorf("%s: %w", r.name, errNoMAC)
	}
	return mac, nil
}
