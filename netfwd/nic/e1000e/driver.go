package e1000e

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel"
)

const name = "e1000e"

// Driver drives the chips of the package.
var Driver = nic.Driver{
	Name: name,
	Chips: []nic.Chip{
		{Vendor: 0x8086, Device: 0x10d3, Name: "82574L", Seen: true},
		{Vendor: 0x8086, Device: 0x10f6, Name: "82574LA"},
	},
	Open: open,
}

// Registers of the chip (82574 chapter 10).
const (
	regBytes = 0x20000

	regICR     = 0x00c0
	regIMS     = 0x00d0
	regIMC     = 0x00d8
	regEIAC    = 0x00dc // causes that are forgotten when their MSI-X message is sent
	regIVAR    = 0x00e4
	regEXTCNF  = 0x0f00
	regRFCTL   = 0x5008
	regRx      = 0x2800 // of the first queue
	regTx      = 0x3800
	queueBytes = 0x100

	// Of a queue, from its first.
	queueArbiter = 0x40 // TARC
)

const (
	// Causes of interrupts: of each queue's rings, and of all else.
	causeRx, causeTx, causeOther = 1 << 20, 1 << 22, 1 << 24

	ivarValid = 8

	rfctlExtended = 1 << 15 // receive descriptors

	extcnfOwner = 1 << 5 // MDIO is software's

	// Descriptors are fetched when few are left, and written back one at a time, in units
	// of descriptors; bit 22 must be set in TXDCTL (82574 chapter 10).
	rxControl = 1<<24 | 1<<16 | 4<<8 | 32
	txControl = 1<<24 | 1<<22 | 1<<16 | 1<<8 | 31

	arbiterOn = 1<<10 | 3 // this queue takes part, as often as the other

	rssOn    = 1 // in MRQC
	rssShift = 7 // of a queue in RETA
)

const maxPairs = 2

// card is an open 82574.
type card struct{ intel.Card }

func open(f nic.Function, cfg nic.Config) (nic.Card, error) {
	pairs, err := intel.Pairs(f, cfg.MaxPairs, maxPairs)
	if err != nil {
		return nil, err
	}
	c := &card{}
	if err := c.Find(f, name, regBytes); err != nil {
		return nil, err
	}
	c.ICR, c.IMS, c.IMC = regICR, regIMS, regIMC
	c.Counters, c.Check, c.Unmask = intel.Common, c.Remembers, c.unmask
	c.CutsAtGigabit = true // Linux does not ask this chip for segments at 10 and 100 Mb/s either
	if err := c.start(cfg, pairs); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// start takes the chip from any state to running (82574 chapter 4).
func (c *card) start(cfg nic.Config, pairs int) (err error) {
	if err = c.reset(); err != nil {
		return err
	}
	c.avoidErrata()
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
	for i := range pairs {
		if err = c.addPair(cfg, i, pairs); err != nil {
			return err
		}
	}
	c.route(pairs)
	c.Change(regRFCTL, rfctlExtended, 0)
	c.RSS(rssOn)
	c.SpreadOver(1, rssShift)
	c.StartReceive()
	c.StartTransmit()
	if err = c.LinkUp(c.owningPHY); err != nil {
		return err
	}
	c.Change(intel.RegCTRLExt, intel.CtrlExtDriverLoaded, 0)
	for _, q := range c.Pairs {
		q.Start()
	}
	c.unmask()
	c.Flush()
	return nil
}

// addPair sets queue pair i of so many up.
func (c *card) addPair(cfg nic.Config, i, pairs int) error {
	tx := uint64(regTx + queueBytes*i)
	err := c.AddPair(cfg, intel.Pair{
		Rx: uint64(regRx + queueBytes*i), Tx: tx, RxControl: rxControl, TxControl: txControl, Format: intel.Extended, OneContext: pairs > 1,
		Set: regIMS, Clear: regIMC, Cause: regICR, RxBit: causeRx << i, TxBit: causeTx << i,
	})
	if err != nil {
		return err
	}
	c.Change(tx+queueArbiter, arbiterOn, 0)
	return nil
}

// route gives each cause its vector (82574 chapter 10), and makes the chip forget causes whose
// message it has sent.
func (c *card) route(pairs int) {
	ivar := uint32(ivarValid|intel.VectorOther) << 16
	forget := uint32(causeOther)
	for i := range pairs {
		ivar |= uint32(ivarValid|intel.RxVector(i))<<(4*i) | uint32(ivarValid|intel.TxVector(i))<<(8+4*i)
		forget |= (causeRx | causeTx) << i
	}
	c.Store(regIVAR, ivar)
	c.Store(regEIAC, forget)
}

// unmask lets the chip tell of its link.
func (c *card) unmask() {
	c.Store(regICR, intel.InterruptLink|causeOther) // what caused the last one; reading would clear the queues' causes, too
	c.Store(regIMS, intel.InterruptLink|causeOther)
}

// ownerLimit is how long the chip's firmware may have the PHY.
const ownerLimit = time.Second

// owningPHY calls use while MDIO is ours (82574 chapters 4 and 10).
func (c *card) owningPHY(use func() error) error {
	if err := c.claimPHY(); err != nil {
		return err
	}
	defer c.Change(regEXTCNF, 0, extcnfOwner)
	return use()
}

func (c *card) claimPHY() error {
	for deadline := time.Now().Add(ownerLimit); ; time.Sleep(time.Millisecond) {
		c.Change(regEXTCNF, extcnfOwner, 0)
		if c.Load(regEXTCNF)&extcnfOwner != 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: the chip's firmware does not let go of the PHY", c.Info().Name)
		}
	}
}

// Spread is nic.Card's.
func (c *card) Spread(pairs int) error {
	c.SpreadOver(max(1, min(pairs, len(c.Pairs))), rssShift)
	return nil
}

// Close is nic.Card's.
func (c *card) Close() error { return c.Stop(c.reset) }
