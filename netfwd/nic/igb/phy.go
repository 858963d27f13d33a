package igb

import (
	"fmt"
	"time"

	"vvufwd/netfwd/nic/intel"
)

// ownerLimit is how long the chip's firmware, or another function, may have the PHY.
const ownerLimit = time.Second

// owningPHY calls use while the PHY of this port is ours, and not firmware's (82576 chapter 4).
func (c *card) owningPHY(use func() error) error {
	deadline := time.Now().Add(ownerLimit)
	for !c.claimPHY() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: the chip's firmware does not let go of the PHY (SW_FW_SYNC 0x%08x)", c.Info().Name, c.Load(regSWFWSync))
		}
		time.Sleep(time.Millisecond)
	}
	defer c.synchronized(func() { c.Change(regSWFWSync, 0, c.phy()) })
	return use()
}

// phy is the bit of this port's PHY in SW_FW_SYNC: ports 0 and 1 have neighbouring bits, 2
// and 3 are further up. A virtual machine has each port as a
// function of its own, of which STATUS tells the number.
func (c *card) phy() uint32 {
	const functionShift, functions = 2, 3
	return [...]uint32{1 << 1, 1 << 2, 1 << 5, 1 << 6}[c.Load(intel.RegSTATUS)>>functionShift&functions]
}

func (c *card) claimPHY() (ours bool) {
	bit := c.phy()
	c.synchronized(func() {
		if c.Load(regSWFWSync)&(bit|bit<<16) == 0 {
			c.Change(regSWFWSync, bit, 0)
			ours = true
		}
	})
	return ours
}

// synchronized calls f while both semaphores are ours that guard SW_FW_SYNC. It does not
// call it if the firmware's is not within some milliseconds.
func (c *card) synchronized(f func()) {
	const tries = 20
	for i := 0; c.Load(regSWSM)&swsmDriver != 0 && i <= 2*tries; i++ { // reading it as zero takes it
		if i == tries { // left by a driver that was ended: those that run have it for microseconds
			c.Change(regSWSM, 0, swsmDriver)
		}
		time.Sleep(time.Millisecond)
	}
	for range tries {
		c.Change(regSWSM, swsmFirmware, 0)
		if c.Load(regSWSM)&swsmFirmware != 0 {
			f()
			break
		}
		time.Sleep(time.Millisecond)
	}
	c.Change(regSWSM, 0, swsmDriver|swsmFirmware)
}
