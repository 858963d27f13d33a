package inteltest

import (
	"sync"

	"vvufwd/vfio/mmio"
)

// Kind is which chip is played.
type Kind int

// Kinds of chips.
const (
	I82574   Kind = iota // QEMU's e1000e
	I82576               // QEMU's igb
	I82576VF             // a virtual function of that
)

// layout is where a kind has its registers.
type layout struct {
	bytes                          uint64
	device                         uint16
	vectors                        int
	icr, ims, imc                  uint64
	setQueues, clearQueues, queues uint64 // interrupts of queues: set, clear, cause
	rx, tx, stride                 uint64
	enables                        bool // queues have an enable bit
}

var layouts = map[Kind]layout{
	I82574: {bytes: 0x20000, device: 0x10d3, vectors: 5, icr: 0xc0, ims: 0xd0, imc: 0xd8, setQueues: 0xd0, clearQueues: 0xd8, queues: 0xc0,
		rx: 0x2800, tx: 0x3800, stride: 0x100},
	I82576: {bytes: 0x20000, device: 0x10c9, vectors: 10, icr: 0x1500, ims: 0x1508, imc: 0x150c, setQueues: 0x1524, clearQueues: 0x1528, queues: 0x1580,
		rx: 0xc000, tx: 0xe000, stride: 0x40, enables: true},
	I82576VF: {bytes: 0x4000, device: 0x10ca, vectors: 3, icr: 0x1500, ims: 0x1508, imc: 0x150c, setQueues: 0x1524, clearQueues: 0x1528, queues: 0x1580,
		rx: 0x2800, tx: 0x3800, stride: 0x100, enables: true},
}

// Chip is a NIC. Safe for concurrent use.
type Chip struct {
	kind Kind
	layout

	mu     sync.Mutex
	regs   []uint32
	phy    [32]uint16
	memory *Memory
	states [2]map[int]*queue // of queues: rx, tx
	wire   [][]byte

	// What a test may set before the chip is used.
	Stuck       map[string]bool // "reset", "phy", "phy error", "enable", "owner": what does not happen
	NoLink      bool            // no one at the other end of the wire
	PF          *PF             // at the other end of a virtual function's mailbox
	MAC         [6]byte
	Gone        bool // all registers read as ones
	Negotiation int  // how often the PHY was told to negotiate
	Resets      int
	Keep        map[uint64]uint32 // what registers are after a reset
	DropsGoOn   bool              // reading the counters of dropped frames does not clear them
	Unowned     bool              // an 82574 was reset while its PHY was the firmware's
	Cut         int               // frames that the chip has cut
	Summed      int               // frames in which it has completed a checksum

	interrupts func(vector int)
}

// queue is how far the chip is with a ring.
type queue struct {
	head    uint32
	context [2]uint64
	frame   []byte // that is being put together
	first   uint64 // second word of its first descriptor
}

// New returns a chip that is as it is after power-on.
func New(kind Kind) *Chip {
	c := &Chip{kind: kind, layout: layouts[kind], memory: &Memory{}, Stuck: map[string]bool{}, Keep: map[uint64]uint32{}, MAC: [6]byte{0x52, 0x54, 0, 0, 0, 4}}
	c.regs = make([]uint32, c.bytes/4)
	c.interrupts = func(int) {}
	if kind == I82576VF {
		c.PF = &PF{MAC: &[6]byte{0x52, 0x54, 0, 0, 0, 5}}
	}
	c.reset()
	return c
}

// Memory is what the chip reads and writes.
func (c *Chip) Memory() *Memory { return c.memory }

// Wire returns the frames that were sent since the last time.
func (c *Chip) Wire() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	wire := c.wire
	c.wire = nil
	return wire
}

// Peek reads a register without what reading it does.
func (c *Chip) Peek(off uint64) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.regs[off/4]
}

// Poke writes a register without what writing it does.
func (c *Chip) Poke(off uint64, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regs[off/4] = v
}

const (
	regCTRL, regSTATUS, regEECD, regMDIC = 0, 8, 0x10, 0x20
	regCTRLExt                           = 0x18
	regSWSM, regMailbox, regMailboxMem   = 0x5b50, 0xc40, 0x800
	regRCTL, regRAL, regRAH, regEXTCNF   = 0x100, 0x5400, 0x5404, 0xf00

	ctrlMasterDisable, ctrlSLU, ctrlReset = 1 << 2, 1 << 6, 1 << 26
	statusLink, statusGigabit             = 1 << 1, 1 << 7
	statusMaster                          = 1 << 19
)

// reset makes registers what they are after a reset. c.mu is held, or no one has c yet.
func (c *Chip) reset() {
	loaded := c.regs[regCTRLExt/4] & (1 << 28) // which is for firmware, and the driver's to clear
	clear(c.regs)
	c.regs[regCTRLExt/4] = loaded
	for off, v := range c.Keep {
		c.regs[off/4] = v
	}
	c.Resets++
	c.states = [2]map[int]*queue{{}, {}}
	c.regs[regSTATUS/4] = statusMaster | statusGigabit
	c.regs[regEECD/4] = 1 << 9
	if c.kind != I82576VF {
		c.regs[regRAL/4] = uint32(c.MAC[0]) | uint32(c.MAC[1])<<8 | uint32(c.MAC[2])<<16 | uint32(c.MAC[3])<<24
		c.regs[regRAH/4] = uint32(c.MAC[4]) | uint32(c.MAC[5])<<8 | 1<<31
	} else if !c.NoLink {
		c.regs[regSTATUS/4] |= statusLink
	}
	if c.PF != nil {
		c.PF.forget()
	}
	if c.kind == I82574 { // what a driver has to change
		c.regs[0x3840/4], c.regs[regCTRL/4] = 0xf<<27, 1<<29
		c.regs[regCTRLExt/4] |= 1 << 23
	}
	if c.kind == I82574 && !c.NoLink {
		c.regs[regSTATUS/4] |= statusLink
	}
}

// SetSlow makes the link one of 100 Mb/s.
func (c *Chip) SetSlow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regs[regSTATUS/4] &^= statusGigabit
}

// SetLink plugs the cable in or out.
func (c *Chip) SetLink(up bool) {
	c.mu.Lock()
	c.NoLink = !up
	c.regs[regSTATUS/4] &^= statusLink
	if up {
		c.regs[regSTATUS/4] |= statusLink
	}
	told := c.other(1 << 2)
	c.mu.Unlock()
	if told {
		c.interrupts(0)
	}
}

// other notes a cause that is no queue's, and reports whether it interrupts.
func (c *Chip) other(cause uint32) bool {
	c.regs[c.icr/4] |= cause
	unmasked := c.regs[c.ims/4]&cause != 0
	if c.kind == I82574 {
		return unmasked
	}
	return unmasked && c.regs[c.setQueues/4]&1 != 0
}

// Lost makes a reset from outside: by the machine, or the physical function.
func (c *Chip) Lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

// Len and what follows make registers of the chip.
func (c *Chip) Len() uint64 { return c.bytes }

// Load32 reads a register.
func (c *Chip) Load32(off uint64) uint32 {
	mmio.Inside(off, 4, c.bytes)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Gone {
		return ^uint32(0)
	}
	v := c.regs[off/4]
	switch {
	case off == c.icr && c.kind != I82576VF:
		c.regs[off/4] = 0
	case off == regSTATUS:
		if c.regs[regCTRL/4]&ctrlMasterDisable != 0 {
			v &^= statusMaster
		}
	case off == regSWSM && c.kind == I82576:
		c.regs[off/4] |= 1
	case off == regMailbox && c.kind == I82576VF:
		c.regs[off/4] &^= 0xb0 // what is fleeting
	case c.kind == I82576 && !c.DropsGoOn && off >= c.rx && off < c.rx+8*c.stride && (off-c.rx)%c.stride == 0x30:
		c.regs[off/4] = 0 // frames dropped
	case off >= 0x4000 && off < 0x4100 && c.kind != I82576VF:
		c.regs[off/4] = 0 // statistics
	}
	return v
}

// Store32 writes one.
func (c *Chip) Store32(off uint64, v uint32) {
	mmio.Inside(off, 4, c.bytes)
	c.mu.Lock()
	told := c.store(off, v)
	c.mu.Unlock()
	c.tell(told)
}

// store returns the vectors that interrupt, as bits.
func (c *Chip) store(off uint64, v uint32) (vectors uint32) {
	if c.Gone {
		return 0
	}
	at := &c.regs[off/4]
	switch {
	case off == regCTRL && v&ctrlReset != 0:
		if c.Stuck["reset"] {
			*at = v
			return 0
		}
		c.Unowned = c.Unowned || c.kind == I82574 && c.regs[regEXTCNF/4]&(1<<5) == 0
		c.reset()
	case off == regMDIC && c.kind != I82576VF:
		c.mdic(v)
	case off == c.setQueues && c.kind != I82574, off == c.ims:
		*at |= v
		return c.raised(0)
	case off == c.clearQueues && c.kind != I82574:
		c.regs[c.setQueues/4] &^= v
	case off == c.imc:
		c.regs[c.ims/4] &^= v
	case off == c.queues, off == c.icr:
		*at &^= v
	case off == regSTATUS, off == regEECD:
	case off == regEXTCNF && c.Stuck["owner"]:
	case off == regSWSM && c.Stuck["owner"]:
		*at = v &^ 2
	case off == regMailbox && c.kind == I82576VF:
		c.mailbox(v)
	case c.enables && c.isControl(off) && c.Stuck["enable"]:
		*at = v &^ (1 << 25)
	default:
		*at = v
	}
	return 0
}

// isControl reports whether it is RXDCTL or TXDCTL of a queue.
func (c *Chip) isControl(off uint64) bool {
	for _, base := range []uint64{c.rx, c.tx} {
		if off >= base && off < base+8*c.stride && (off-base)%c.stride == 0x28 {
			return true
		}
	}
	return false
}

// mdic carries out a command for the PHY.
func (c *Chip) mdic(v uint32) {
	if c.Stuck["phy"] {
		c.regs[regMDIC/4] = v
		return
	}
	reg, data := v>>16&31, uint16(v)
	if v>>26&3 == 1 {
		c.phy[reg] = data
		if reg == 0 && data&(1<<9) != 0 {
			c.Negotiation++
			if !c.NoLink && c.regs[regCTRL/4]&ctrlSLU != 0 {
				c.regs[regSTATUS/4] |= statusLink
			}
		}
	}
	answer := v&^0xffff | uint32(c.phy[reg]) | 1<<28
	if c.Stuck["phy error"] {
		answer |= 1 << 30
	}
	c.regs[regMDIC/4] = answer
}

// queueCause is the bit of a queue's interrupt, and the vector that it is sent by.
func (c *Chip) queueCause(tx bool, i int) (bit uint32, vector int) {
	if c.kind == I82574 {
		shift, at := 20+i, 4*i
		if tx {
			shift, at = 22+i, 8+4*i
		}
		return 1 << shift, int(c.regs[0xe4/4] >> at & 7)
	}
	entry := c.regs[0x1700/4+i] // of 82576: queues 0 to 7 have one each
	if tx {
		entry >>= 8
	}
	vector = int(entry & 31)
	return 1 << vector, vector
}

// raise notes that a queue has news. c.mu is held.
func (c *Chip) raise(tx bool, i int) (vectors uint32) {
	bit, _ := c.queueCause(tx, i)
	c.regs[c.queues/4] |= bit
	return c.raised(bit)
}

// raised are the vectors of causes that are unmasked, which are masked and forgotten: those
// of queues alone, if only is not 0 only those.
func (c *Chip) raised(only uint32) (vectors uint32) {
	for i := range 8 {
		for _, tx := range []bool{false, true} {
			bit, vector := c.queueCause(tx, i)
			if only != 0 && bit != only || c.kind == I82574 && i > 1 || vector == 0 {
				continue
			}
			if c.regs[c.queues/4]&bit != 0 && c.regs[c.setQueues/4]&bit != 0 {
				c.regs[c.queues/4] &^= bit
				c.regs[c.setQueues/4] &^= bit
				vectors |= 1 << vector
			}
		}
	}
	return vectors
}

// The widths that no driver of the family uses.

// Load8 is not for these chips.
func (c *Chip) Load8(uint64) uint8 { panic("inteltest: byte access") }

// Load16 is not for these chips.
func (c *Chip) Load16(uint64) uint16 { panic("inteltest: 16-bit access") }

// Load64 is two accesses.
func (c *Chip) Load64(off uint64) uint64 {
	return uint64(c.Load32(off)) | uint64(c.Load32(off+4))<<32
}

// Store8 is not for these chips.
func (c *Chip) Store8(uint64, uint8) { panic("inteltest: byte access") }

// Store16 is not for these chips.
func (c *Chip) Store16(uint64, uint16) { panic("inteltest: 16-bit access") }

// Store64 is two accesses.
func (c *Chip) Store64(off uint64, v uint64) {
	c.Store32(off, uint32(v))
	c.Store32(off+4, uint32(v>>32))
}
