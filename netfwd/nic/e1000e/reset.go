package e1000e

import (
	"time"

	"vvufwd/netfwd/nic/intel"
)

// phyPause is how long the chip goes on configuring its PHY from the EEPROM after it has said
// that it has read it.
const phyPause = 25 * time.Millisecond

// reset is intel's, with the PHY in our hands, so that the chip's firmware does not use it
// meanwhile. If the firmware does not let go the chip is reset all the same: nothing else may
// help. After a reset the PHY is the firmware's.
func (c *card) reset() error {
	if !c.Absent() {
		_ = c.claimPHY()
	}
	if err := c.Reset(); err != nil {
		return err
	}
	c.Change(regEXTCNF, 0, extcnfOwner)
	time.Sleep(phyPause)
	return nil
}

// What Intel's drivers for Linux and DPDK set in this chip, each after a reset: how it
// arbitrates between its queues, and how it speaks PCI Express. The datasheet calls these bits
// reserved, or asks for the values; without those of the bus completions were seen to get
// lost, and transmit queues to hang, above all with ASPM.
const (
	regGCR  = 0x5b00
	regGCR2 = 0x5b64

	arbiterSet, arbiterClear = 1 << 26, 0xf << 27 // in TARC of the first queue
	ctrlClear                = 1 << 29
	ctrlExtSet, ctrlExtClear = 1 << 22, 1 << 23
	gcrSet                   = 1<<22 | 1<<27 // bit 27: L1 without L0s on the receiving side
	gcr2Set                  = 1 << 0
)

// avoidErrata sets them.
func (c *card) avoidErrata() {
	c.Change(regTx+queueArbiter, arbiterSet, arbiterClear)
	c.Change(intel.RegCTRL, 0, ctrlClear)
	c.Change(intel.RegCTRLExt, ctrlExtSet, ctrlExtClear)
	c.Change(regGCR, gcrSet, 0)
	c.Change(regGCR2, gcr2Set, 0)
}
