package igb

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel"
	"vvufwd/vfio/pci"
)

// card is an open NIC.
type card struct {
	intel.Card
	model   model
	vectors uint32 // as bits, all that are in use
}

func open(f nic.Function, cfg nic.Config) (nic.Card, error) {
	m := modelOf(f.Config().Load16(pci.OffsetDevice))
	pairs, err := intel.Pairs(f, cfg.MaxPairs, m.pairs)
	if err != nil {
		return nil, err
	}
	bar, err := f.BAR(0)
	if err != nil {
		return nil, err
	}
	regs, err := intel.NewRegisters(bar, name+":"+f.Address().String(), regBytes)
	if err != nil {
		return nil, err
	}
	regs.ICR, regs.IMS, regs.IMC = regICR, regIMS, regIMC
	c := &card{Card: intel.Card{Registers: regs, Function: f, FrameMTU: intel.MTU}, model: m}
	c.Counters, c.Check, c.Unmask = counters(m, pairs), c.check, c.unmask
	if err := c.start(cfg, pairs); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// counters are those of the chip and of its queues.
func counters(m model, pairs int) []intel.Counter {
	list := append([]intel.Counter(nil), intel.Common...)
	for i := range pairs {
		list = append(list, intel.Counter{
			Name: fmt.Sprintf("rx_dropped_q%d", i), Register: uint64(regRx + queueBytes*i + queueDropped), Running: m.counting,
		})
	}
	return list
}

// start takes the chip from any state to running (82576 chapter 4).
func (c *card) start(cfg nic.Config, pairs int) (err error) {
	c.Store(regEIMC, ^uint32(0))
	if err = c.Reset(); err != nil {
		return err
	}
	c.Store(regEIMC, ^uint32(0))
	if c.Address, err = c.MAC(); err != nil {
		return err
	}
	c.Details = fmt.Sprintf("%d queue pairs, TSO", pairs)
	if err = c.Function.EnableBusMaster(); err != nil {
		return err
	}
	if err = c.Function.EnableMSIX(1 + 2*pairs); err != nil {
		return err
	}
	c.route(pairs)
	for i := range pairs {
		if err = c.addPair(cfg, i, pairs); err != nil {
			return err
		}
	}
	c.Flush()
	time.Sleep(disablePause)
	const tagAndCRC = 4 + 4 + 14
	c.Store(regRLPML, uint32(c.FrameMTU+tagAndCRC))
	c.RSS(rssOn)
	c.SpreadOver(1, 0)
	c.StartReceive()
	c.StartTransmit()
	for i, q := range c.Pairs {
		if err = c.enable(uint64(regRx+queueBytes*i), "receive", i); err == nil {
			err = c.enable(uint64(regTx+queueBytes*i), "transmit", i)
		}
		if err != nil {
			return err
		}
		q.Start() // tails count only once queues are enabled (82576 chapter 4)
	}
	if c.model.later {
		c.Change(regPHPM, 0, phpmNoLink)
	}
	if err = c.LinkUp(c.owningPHY); err != nil {
		return err
	}
	c.Change(intel.RegCTRLExt, intel.CtrlExtDriverLoaded, 0)
	c.unmask()
	c.Flush()
	return nil
}

// addPair sets queue pair i up.
func (c *card) addPair(cfg nic.Config, i, pairs int) error {
	rx, tx := uint64(regRx+queueBytes*i), uint64(regTx+queueBytes*i)
	rxTail, err := c.Part(rx+queueTail, 4)
	if err != nil {
		return err
	}
	txTail, err := c.Part(tx+queueTail, 4)
	if err != nil {
		return err
	}
	interrupts, err := c.Part(regEIMS, regEICR+4-regEIMS)
	if err != nil {
		return err
	}
	q, err := intel.NewQueue(intel.QueueConfig{
		Name: intel.QueueName(c.Info().Name, i), Memory: cfg.Memory, Size: cfg.QueueSize, Format: intel.Advanced, MTU: c.FrameMTU,
		RxTail: rxTail, TxTail: txTail,
		Interrupts: intel.Interrupts{
			Registers: interrupts, Set: 0, Clear: regEIMC - regEIMS, Cause: regEICR - regEIMS,
			Rx: 1 << intel.RxVector(i), Tx: 1 << intel.TxVector(i),
		},
		WakeFDs: []int{c.Function.Vector(intel.RxVector(i)), c.Function.Vector(intel.TxVector(i))},
	})
	if err != nil {
		return err
	}
	rxRing, txRing, bytes := q.Layout()
	for _, side := range []struct {
		at, ring uint64
		control  uint32
	}{{rx, uint64(rxRing), rxControl}, {tx, uint64(txRing), txControl}} {
		c.Store(side.at+queueControl, 0)
		c.Store(side.at+queueLow, uint32(side.ring))
		c.Store(side.at+queueHigh, uint32(side.ring>>32))
		c.Store(side.at+queueLen, bytes)
		c.Store(side.at+queueHead, 0)
		c.Store(side.at+queueTail, 0)
		c.Store(side.at+queueControl, side.control)
	}
	split := uint32(srrctlAdvanced | intel.BufferSize>>10)
	if pairs > 1 {
		split |= srrctlDrop
	}
	c.Store(rx+queueSplit, split)
	c.Pairs = append(c.Pairs, q)
	return nil
}

// A queue is enabled within microseconds. One that was enabled by the reset (the first is) may
// still be at work for disablePause after it was disabled.
const (
	enableLimit  = 20 * time.Millisecond
	disablePause = 10 * time.Millisecond
)

func (c *card) enable(queue uint64, side string, i int) error {
	c.Change(queue+queueControl, queueEnable, 0)
	return c.Await(queue+queueControl, queueEnable, queueEnable, enableLimit, fmt.Sprintf("the start of %s queue %d", side, i))
}

// route gives each cause its vector, and makes the chip mask and forget those whose message it
// has sent (82576 chapter 7).
func (c *card) route(pairs int) {
	c.vectors = 1<<(1+2*pairs) - 1
	c.Store(regGPIE, gpieClear|gpieMSIX|gpieAutoMask|gpiePBA)
	c.Store(regEIAC, c.vectors)
	c.Store(regEIAM, c.vectors)
	for i := range pairs {
		at, shift := c.model.ivar(i)
		c.Change(at, uint32(ivarValid|intel.RxVector(i))<<shift|uint32(ivarValid|intel.TxVector(i))<<(shift+8), 0xffff<<shift)
	}
	c.Store(regIVARMisc, uint32(ivarValid|intel.VectorOther)<<8)
}

// ivar is where the vectors of a queue pair are, two bytes.
func (m model) ivar(i int) (at uint64, shift int) {
	if m.wide {
		return regIVAR + 4*uint64(i%8), 16 * (i / 8)
	}
	return regIVAR + 4*uint64(i/2), 16 * (i % 2)
}

// unmask lets the chip tell of its link.
func (c *card) unmask() {
	c.Load(regICR) // what caused the last interrupt; there is no next one before
	c.Store(regIMS, intel.InterruptLink)
	c.Store(regEIMS, 1<<intel.VectorOther)
}

// errForgetful says that the chip was reset by somebody else.
var errForgetful = errors.New("the chip has lost its settings: something has reset it")

// check finds out whether the chip still does what it was told.
func (c *card) check() error {
	if c.Load(intel.RegRCTL)&intel.RctlEnable == 0 {
		return fmt.Errorf("%s: %w", c.Info().Name, errForgetful)
	}
	return nil
}

// Spread is nic.Card's.
func (c *card) Spread(pairs int) error {
	c.SpreadOver(max(1, min(pairs, len(c.Pairs))), 0)
	return nil
}

// Close is nic.Card's.
func (c *card) Close() error {
	c.Store(regEIMC, ^uint32(0))
	return c.Stop(c.Reset)
}
