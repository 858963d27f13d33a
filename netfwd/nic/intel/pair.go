package intel

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/netfwd/nic"
)

// Registers of a queue, from its first, in all of these chips (82574 chapter 10, 82576 chapter 8).
const (
	queueLow     = 0x00
	queueHigh    = 0x04
	queueLen     = 0x08
	QueueSplit   = 0x0c // SRRCTL, of advanced descriptors
	queueHead    = 0x10
	queueTail    = 0x18
	queueControl = 0x28
)

// Of queues that are enabled one by one (82576 chapter 8): their control registers, and SRRCTL.
const (
	queueEnable = 1 << 25
	enableLimit = 20 * time.Millisecond // it takes microseconds

	// Descriptors are fetched when few are left, and written back one at a time.
	AdvancedRx = 1<<16 | 8<<8 | 8
	AdvancedTx = 1<<16 | 1<<8 | 8

	SplitAdvanced = 1<<25 | BufferSize>>10 // descriptors with one buffer
)

// Pair says where the queues of a pair are in a chip, and what they are told.
type Pair struct {
	Rx, Tx               uint64 // the first registers of each
	RxControl, TxControl uint32
	Format               Format
	Vocal                *Voices // see QueueConfig
	OneContext           bool    // see QueueConfig
	SwappedTags          bool    // see QueueConfig

	// Interrupts are switched by the registers at Set, Clear and Cause, whose place is that in
	// the chip, with these bits.
	Set, Clear, Cause uint64
	RxBit, TxBit      uint32
}

// Find makes c the card that function f is, if it has as many bytes of registers. Driver is
// the name of its driver. The chip is not touched.
func (c *Card) Find(f nic.Function, driver string, registers uint64) error {
	bar, err := f.BAR(0)
	if err != nil {
		return err
	}
	if c.Registers, err = NewRegisters(bar, driver+":"+f.Address().String(), registers); err != nil {
		return err
	}
	c.Function, c.FrameMTU = f, MTU
	return nil
}

// AddPair sets the next queue pair up. The chip is not told to serve it yet.
func (c *Card) AddPair(cfg nic.Config, p Pair) error {
	i := len(c.Pairs)
	rxTail, err := c.Part(p.Rx+queueTail, 4)
	if err != nil {
		return err
	}
	txTail, err := c.Part(p.Tx+queueTail, 4)
	if err != nil {
		return err
	}
	first := min(p.Set, p.Clear, p.Cause)
	interrupts, err := c.Part(first, max(p.Set, p.Clear, p.Cause)+4-first)
	if err != nil {
		return err
	}
	q, err := NewQueue(QueueConfig{
		Name: QueueName(c.name, i), Memory: cfg.Memory, Size: cfg.QueueSize, Format: p.Format, MTU: c.FrameMTU,
		RxTail: rxTail, TxTail: txTail, Vocal: p.Vocal, OneContext: p.OneContext, SwappedTags: p.SwappedTags,
		Interrupts: Interrupts{
			Registers: interrupts, Set: p.Set - first, Clear: p.Clear - first, Cause: p.Cause - first,
			Rx: p.RxBit, Tx: p.TxBit,
		},
		WakeFDs: []int{c.Function.Vector(RxVector(i)), c.Function.Vector(TxVector(i))},
	})
	if err != nil {
		return err
	}
	rxRing, txRing, bytes := q.Layout()
	for _, side := range []struct {
		at, ring uint64
		control  uint32
	}{{p.Rx, uint64(rxRing), p.RxControl}, {p.Tx, uint64(txRing), p.TxControl}} {
		if p.Format == Advanced { // these may be at work until they are disabled
			c.Store(side.at+queueControl, 0)
		}
		c.Store(side.at+queueLow, uint32(side.ring))
		c.Store(side.at+queueHigh, uint32(side.ring>>32))
		c.Store(side.at+queueLen, bytes)
		c.Store(side.at+queueHead, 0)
		c.Store(side.at+queueTail, 0)
		c.Store(side.at+queueControl, side.control)
	}
	c.Pairs = append(c.Pairs, q)
	return nil
}

// EnableQueue enables a queue of advanced descriptors by its first register, and waits until
// it is. What says which one it is, for the error.
func (c *Card) EnableQueue(at uint64, what string) error {
	c.Change(at+queueControl, queueEnable, 0)
	return c.Await(at+queueControl, queueEnable, queueEnable, enableLimit, "the start of "+what)
}

// DisableQueue is the opposite. The queue may be at work for some milliseconds after it.
func (c *Card) DisableQueue(at uint64) { c.Change(at+queueControl, 0, queueEnable) }

// ErrForgetful says that a chip was reset by someone else.
var ErrForgetful = errors.New("the chip has lost its settings: something has reset it")

// Remembers is Card.Check for chips whose receiver a reset switches off.
func (c *Card) Remembers() error {
	if c.Load(RegRCTL)&RctlEnable == 0 {
		return fmt.Errorf("%s: %w", c.name, ErrForgetful)
	}
	return nil
}
