package intel

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/nic"
	"vvufwd/vfio/await"
	"vvufwd/vfio/pci"
	virtionet "vvufwd/virtio/net"
	virtiopci "vvufwd/virtio/pci"
)

// Vectors: one for what is no queue's business, then two for each queue pair.
const (
	VectorOther = 0
	vectorFirst = 1
)

// RxVector is the interrupt of queue pair i's receive ring, TxVector of its transmit ring.
func RxVector(i int) int { return vectorFirst + 2*i }

// TxVector is RxVector for what was sent.
func TxVector(i int) int { return vectorFirst + 2*i + 1 }

// Pairs is how many queue pairs a function can have that has most of them, or an error if
// it has too few interrupts for any.
func Pairs(f nic.Function, wanted, most int) (int, error) {
	vectors := f.MSIXCount()
	if vectors < vectorFirst+2 {
		return 0, &pci.DeviceError{Device: f.Address().String(),
			Problem: fmt.Sprintf("has %d MSI-X vectors, %d are needed", vectors, vectorFirst+2),
			Remedy:  "use a NIC with MSI-X; INTx is not supported"}
	}
	return max(1, min(wanted, most, (vectors-vectorFirst)/2)), nil
}

// Card is most of a nic.Card. A chip's package completes it.
type Card struct {
	*Registers
	Function nic.Function
	Address  net.HardwareAddr
	FrameMTU int
	Details  string
	Pairs    []*Queue
	// Check, if there is one, is called by Watch whenever it looks, which is every watchMost at
	// least, and says what is wrong with the card.
	Check func() error
	// CutsAtGigabit says that the chip may be asked for segments only when its link has 1000
	// Mb/s; else they are made here.
	CutsAtGigabit bool
	// Unmask makes the card interrupt (VectorOther) when its link has changed. It is called
	// again after each interrupt, which may have masked it.
	Unmask func()

	told atomic.Bool // what Link said last
	tally
}

// Info is nic.Card's.
func (c *Card) Info() nic.Info {
	return nic.Info{
		Name: c.name, MAC: c.Address, MTU: c.FrameMTU, Details: c.Details,
		Sends: virtionet.OffloadDataValid, Takes: offloads,
	}
}

// Queues is nic.Card's.
func (c *Card) Queues() []nic.Queue {
	queues := make([]nic.Queue, len(c.Pairs))
	for i, q := range c.Pairs {
		queues[i] = q
	}
	return queues
}

// Link is nic.Card's.
func (c *Card) Link() (up bool, err error) {
	up, err = c.link()
	c.told.Store(up)
	return up, err
}

func (c *Card) link() (up bool, err error) {
	status := c.Load(RegSTATUS)
	if status == allOnes {
		return false, c.absent()
	}
	if c.CutsAtGigabit {
		slow := status&(StatusLinkUp|StatusGigabit) == StatusLinkUp
		for _, q := range c.Pairs {
			q.whole.Store(slow)
		}
	}
	return status&StatusLinkUp != 0, nil
}

func (c *Card) absent() error { return fmt.Errorf("%s: %w", c.name, virtiopci.ErrAbsent) }

// watchFirst and watchMost are after which time Watch looks without being told: interrupts can be lost.
const (
	watchFirst = 250 * time.Millisecond
	watchMost  = 2 * time.Second
)

// Watch is nic.Card's.
func (c *Card) Watch(ctx context.Context, changed func(up bool)) error {
	last := c.told.Load()
	vector := c.Function.Vector(VectorOther)
	patience := await.Patience{First: watchFirst, Most: watchMost}
	var buf [8]byte
	for ctx.Err() == nil {
		c.Unmask()
		if patience.Readable(ctx, vector) {
			_, _ = unix.Read(vector, buf[:]) // an eventfd that does not block
		}
		up, err := c.link()
		if err != nil {
			return err
		}
		if c.Check != nil {
			if err := c.Check(); err != nil {
				return err
			}
		}
		c.count()
		if up != last {
			last = up
			changed(up)
		}
	}
	return nil
}

// Statistics is nic.Card's.
func (c *Card) Statistics() []nic.Statistic {
	c.count()
	return c.list()
}

// count adds what the chip has counted since the last time.
func (c *Card) count() {
	if !c.Absent() {
		c.add(c.Registers)
	}
}

// Counter is a register of statistics, which is zero again after it was read.
type Counter struct {
	Name     string
	Register uint64
	// Running is for those that are not: the chips' virtual functions count on.
	Running bool
}

// tally adds up statistics. Registers of 32 bits stop at their end, or wrap around: they
// are looked at often enough.
type tally struct {
	Counters []Counter

	mu     sync.Mutex
	values []uint64
	last   []uint32
}

func (t *tally) add(r *Registers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.values == nil {
		t.values, t.last = make([]uint64, len(t.Counters)), make([]uint32, len(t.Counters))
	}
	for i, c := range t.Counters {
		v := r.Load(c.Register)
		if c.Running {
			t.values[i] += uint64(v - t.last[i])
			t.last[i] = v
			continue
		}
		t.values[i] += uint64(v)
	}
}

func (t *tally) list() []nic.Statistic {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]nic.Statistic, len(t.values))
	for i, v := range t.values {
		list[i] = nic.Statistic{Name: t.Counters[i].Name, Value: v}
	}
	return list
}

// Common are counters that all physical functions have (82574 chapter 10, 82576 chapter 8).
var Common = []Counter{
	{Name: "crc_errors", Register: 0x4000},
	{Name: "rx_missed", Register: 0x4010},
	{Name: "rx_length_errors", Register: 0x4040},
	{Name: "rx_good_packets", Register: 0x4074},
	{Name: "tx_good_packets", Register: 0x4080},
	{Name: "rx_no_buffers", Register: 0x40a0},
	{Name: "tx_segmentation_contexts", Register: 0x40f8},
}

// SpreadOver writes the table by which frames are given to queues: each entry is the number
// of one of the first n queues, shifted (82574 chapter 10, 82576 chapter 8).
func (c *Card) SpreadOver(n int, shift uint) {
	const entries = 128
	for i := uint64(0); i < entries; i += 4 {
		var word uint32
		for j := range uint64(4) {
			word |= uint32(int(i+j)%n) << shift << (8 * j)
		}
		c.Store(RegRETA+i, word)
	}
}

// rssKey makes the hash of a flow the same in both directions.
const rssKey = 0x5a6d5a6d

// RSS fills in the key of the hash, and what it is made of, in the fields that all chips have at
// the same place: addresses, and ports of TCP.
func (c *Card) RSS(mode uint32) {
	for i := range uint64(10) {
		c.Store(RegRSSRK+4*i, rssKey)
	}
	const tcp4, ip4, tcp6, ip6 = 1 << 16, 1 << 17, 1 << 18, 1 << 20
	c.Store(RegMRQC, mode|tcp4|ip4|tcp6|ip6)
}

// StartReceive lets the chip receive, into queues that have been set up.
func (c *Card) StartReceive() {
	for i := range uint64(128) {
		c.Store(RegMTA+4*i, 0)
	}
	// Frames for any address: whose they are is the forwarder's business. Checksums are
	// looked at; the register's other half would stand where the hash stands.
	const ipSums, l4Sums, noPacketSum = 1 << 8, 1 << 9, 1 << 13
	c.Store(RegRXCSUM, ipSums|l4Sums|noPacketSum)
	c.Store(RegRCTL, RctlEnable|RctlUnicast|RctlMulticast|RctlBroadcast|RctlLong|RctlStripCRC)
}

// StartTransmit lets the chip send.
func (c *Card) StartTransmit() {
	const collisions, distance = 15 << 4, 63 << 12 // as 82574 chapter 4 has them
	c.Store(RegTCTL, TctlEnable|TctlPad|collisions|distance)
}

// LinkUp lets the MAC follow the PHY, which is made to negotiate if there is no link yet
// (82574 chapter 4, 82576 chapter 4). own holds the PHY against the chip's firmware while it is called.
func (c *Card) LinkUp(own func(use func() error) error) error {
	c.Change(RegCTRL, CtrlSLU|CtrlASDE|CtrlFD, CtrlForceSpeed|CtrlForceDuplex|CtrlVME|CtrlMasterDisable|CtrlPHYReset)
	if up, err := c.link(); err != nil || up {
		return err
	}
	return own(c.Renegotiate)
}

// Stop ends all transfers, by a reset, and tells the chip's firmware that no driver is there
// any more. A card that is gone has ended them.
func (c *Card) Stop(reset func() error) error {
	if c.Absent() {
		return nil
	}
	err := reset()
	c.Change(RegCTRLExt, 0, CtrlExtDriverLoaded)
	return err
}
