package igbvf

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel"
	"vvufwd/vfio/pci"
)

const name = "igbvf"

// Driver drives the chips of the package.
var Driver = nic.Driver{
	Name: name,
	Chips: []nic.Chip{
		{Vendor: 0x8086, Device: 0x10ca, Name: "82576 VF", Seen: true},
		{Vendor: 0x8086, Device: i350, Name: "I350 VF"},
	},
	Open: open,
}

const i350 = 0x1520

// Registers of a virtual function (82576 chapter 8).
const (
	regBytes = 0x4000

	regEIMS     = 0x1524
	regEIMC     = 0x1528
	regEIAC     = 0x152c
	regEIAM     = 0x1530
	regEICR     = 0x1580
	regIVAR     = 0x1700
	regIVARMisc = 0x1740
	regRx       = 0x2800
	regTx       = 0x3800

	ivarValid = 0x80

	vectors = 1<<3 - 1
)

// counters go on for ever, and are this function's alone.
var counters = []intel.Counter{
	{Name: "rx_good_packets", Register: 0x0f10, Running: true},
	{Name: "tx_good_packets", Register: 0x0f14, Running: true},
	{Name: "rx_multicast_packets", Register: 0x0f3c, Running: true},
}

// How long things may take.
const (
	answerLimit = 2 * time.Second
	resetLimit  = 5 * time.Second
)

// card is an open virtual function.
type card struct {
	intel.Card
	box    mailbox
	voices *intel.Voices
	asked  asked
	now    func() time.Time // tests have their own
	aged   time.Time        // when addresses became older
}

func open(f nic.Function, cfg nic.Config) (nic.Card, error) {
	if _, err := intel.Pairs(f, 1, 1); err != nil {
		return nil, err
	}
	c := &card{now: time.Now, aged: time.Now()}
	c.asked.noMACs, c.asked.noVLANs = map[[6]byte]bool{}, map[uint16]bool{}
	if err := c.Find(f, name, regBytes); err != nil {
		return nil, err
	}
	c.box = mailbox{regs: c.Registers, limit: answerLimit}
	c.Counters, c.Check, c.Unmask = counters, c.check, c.unmask
	if err := c.start(cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// reset resets the function (82576 chapter 7), waits until the physical one is ready,
// and learns its address.
func (c *card) reset() error {
	if c.Absent() {
		return fmt.Errorf("%s: all its registers read as ones", c.Info().Name)
	}
	c.Store(regEIMC, vectors)
	c.Store(intel.RegCTRL, intel.CtrlReset)
	time.Sleep(10 * time.Millisecond)
	for deadline := time.Now().Add(resetLimit); c.box.look()&mbResets != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return c.problem("the physical function is being reset, and does not finish", "look after its driver (dmesg)")
		}
	}
	c.box.kept = 0
	mac, err := c.box.reset()
	if err != nil {
		return c.problem(err.Error(), "let the physical function be driven by igb, with its interface up")
	}
	c.Address = mac
	return nil
}

func (c *card) problem(what, remedy string) error {
	return &pci.DeviceError{Device: c.Function.Address().String(), Problem: what, Remedy: remedy}
}

// start takes the function from any state to running.
func (c *card) start(cfg nic.Config) error {
	// Before the reset its queues may be where a vvufwd before us had them, in memory that is
	// someone else's by now.
	if err := c.reset(); err != nil {
		return err
	}
	if err := c.Function.EnableBusMaster(); err != nil {
		return err
	}
	if err := c.Function.EnableMSIX(3); err != nil {
		return err
	}
	c.voices = intel.NewVoices(c.Function.Vector(intel.VectorOther))
	if err := c.introduce(); err != nil {
		return err
	}
	err := c.AddPair(cfg, intel.Pair{
		Rx: regRx, Tx: regTx, RxControl: intel.AdvancedRx, TxControl: intel.AdvancedTx, Format: intel.Advanced, Vocal: c.voices,
		SwappedTags: c.Function.Config().Load16(pci.OffsetDevice) == i350,
		Set:         regEIMS, Clear: regEIMC, Cause: regEICR, RxBit: 1 << intel.RxVector(0), TxBit: 1 << intel.TxVector(0),
	})
	if err != nil {
		return err
	}
	c.Store(regRx+intel.QueueSplit, intel.SplitAdvanced)
	c.Store(regEIAC, vectors)
	c.Store(regEIAM, vectors)
	c.Store(regIVAR, uint32(ivarValid|intel.RxVector(0))|uint32(ivarValid|intel.TxVector(0))<<8)
	c.Store(regIVARMisc, ivarValid|intel.VectorOther)
	if err = c.EnableQueue(regRx, "the receive queue"); err == nil {
		err = c.EnableQueue(regTx, "the transmit queue")
	}
	if err != nil {
		return err
	}
	c.Pairs[0].Start() // tails count only once queues are enabled (82576 chapter 4)
	c.unmask()
	c.Flush()
	return nil
}

// introduce asks for what the function needs from the start.
func (c *card) introduce() error {
	const tagAndCRC = 4 + 4 + 14
	if err := c.box.setLongest(c.FrameMTU + tagAndCRC); err != nil {
		if !errors.Is(err, errRefused) {
			return c.problem(err.Error(), "look after the driver of the physical function (dmesg)")
		}
		c.FrameMTU = 1500
	}
	if c.Address == nil {
		mac := net.HardwareAddr(make([]byte, 6))
		_, _ = rand.Read(mac) // never fails
		mac[0] = mac[0]&^1 | 2
		if err := c.box.setMAC([6]byte(mac)); err != nil {
			return c.problem("has no hardware address, and gets none: "+err.Error(), "give it one: ip link set PF vf N mac ADDRESS, in the machine of the physical function")
		}
		c.Address = mac
	}
	c.Details = "a virtual function, TSO"
	c.asked.mac = [6]byte(c.Address)
	return c.asked.groups(&c.box, nil)
}

// unmask lets the mailbox interrupt.
func (c *card) unmask() { c.Store(regEIMS, 1<<intel.VectorOther) }

// Statistics are nic.Card's, and how many requests the physical function's driver has refused,
// or were one too many (frames to an address of those do not arrive), and how many frames came back.
func (c *card) Statistics() []nic.Statistic {
	return append(c.Card.Statistics(),
		nic.Statistic{Name: "requests_refused", Value: c.asked.refused.Load()},
		nic.Statistic{Name: "rx_own_broadcasts", Value: c.voices.Echoed()})
}

// Spread is nic.Card's: there is one queue pair.
func (c *card) Spread(int) error { return nil }

// Close is nic.Card's. A reset ends all transfers.
func (c *card) Close() error {
	if c.Absent() {
		return nil
	}
	c.Store(regEIMC, vectors)
	c.DisableQueue(regRx)
	c.DisableQueue(regTx)
	c.Store(intel.RegCTRL, intel.CtrlReset)
	time.Sleep(10 * time.Millisecond)
	c.Flush()
	return nil
}
