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
	c := &card{model: m}
	if err := c.Find(f, name, regBytes); err != nil {
		return nil, err
	}
	c.ICR, c.IMS, c.IMC = regICR, regIMS, regIMC
	c.Counters, c.Check, c.Unmask = counters(m, pairs), c.Remembers, c.unmask
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
			Name: fmt.Sprintf("rx_dropped_q%d", i), Register: rxOf(i) + queueDropped, Running: m.counting,
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
		if err = c.EnableQueue(rxOf(i), fmt.Sprintf("receive queue %d", i)); err == nil {
			err = c.EnableQueue(txOf(i), fmt.Sprintf("transmit queue %d", i))
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

// rxOf is the first register of receive queue i, txOf of transmit queue i.
func rxOf(i int) uint64 { return uint64(regRx + queueBytes*i) }
func txOf(i int) uint64 { return uint64(regTx + queueBytes*i) }

// addPair sets queue pair i up.
func (c *card) addPair(cfg nic.Config, i, pairs int) error {
	err := c.AddPair(cfg, intel.Pair{
		Rx: rxOf(i), Tx: txOf(i), RxControl: intel.AdvancedRx, TxControl: intel.AdvancedTx, Format: intel.Advanced,
		Set: regEIMS, Clear: regEIMC, Cause: regEICR, RxBit: 1 << intel.RxVector(i), TxBit: 1 << intel.TxVector(i),
	})
	if err != nil {
		return err
	}
	split := uint32(intel.SplitAdvanced)
	if pairs > 1 {
		split |= srrctlDrop
	}
	c.Store(rxOf(i)+intel.QueueSplit, split)
	return nil
}

// A queue that was enabled by the reset (the first is) may still be at work for so long after it
// was disabled.
const disablePause = 10 * time.Millisecond

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
