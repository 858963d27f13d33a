package nic

import (
	"context"
	"errors"
	"net"

	"vvufwd/netfwd"
	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	virtionet "vvufwd/virtio/net"
)

// Driver drives the chips of one family.
type Driver struct {
	Name  string // "e1000e": the KIND of --port, and the start of its ports' names
	Chips []Chip
	// Open takes a function from any state to running: reset, receive buffers posted,
	// up to Config.MaxPairs queue pairs. Frames arrive at the first one until Spread says
	// otherwise. The errors of what cannot be used as it is are *pci.DeviceError. When it
	// fails nothing reaches Config.Memory any more.
	Open func(f Function, cfg Config) (Card, error)
}

// Chip is a PCI id that a driver knows.
type Chip struct {
	Vendor, Device uint16
	Name           string // "82574L"
	Seen           bool   // working, and not only expected to
}

// Function is what a driver needs of a PCI function; *vfio.Device is one, and
// says more about each.
type Function interface {
	Address() pci.Address
	Config() mmio.Space
	ConfigBytes() ([]byte, error)
	BARSize(i int) uint64
	BAR(i int) (mmio.Space, error)
	Untranslated() bool // no IOMMU is between it and memory
	EnableBusMaster() error
	Reset() error // wraps errors.ErrUnsupported where there is no way
	MSIXCount() int
	EnableMSIX(n int) error
	Vector(i int) int
}

// Allocator hands out zeroed memory that the device can reach. Nothing is given back: it
// is the card's until it is closed.
type Allocator interface {
	Alloc(size, align int) (dma.Memory, error)
}

// Config is what a card is opened with.
type Config struct {
	Memory    Allocator
	QueueSize int // most entries of a ring
	MaxPairs  int // most queue pairs
	// Failed is told when something has failed that only opening the card anew can put
	// right: a ring that makes no sense, receiving that does not recover. Called
	// from any goroutine, the forwarder's too: it does not block.
	Failed func(why error)
	// Slow, if not nil, is asked once a second whether to wait for a card that takes seconds to reset.
	Slow func() (goOn bool)
}

// Card is an open NIC. Its methods belong to control: Watch has a goroutine of its own, and
// the others may be called beside it, one at a time. Its queue pairs belong to forwarders.
type Card interface {
	Info() Info
	// Queues are the card's queue pairs, at least one.
	Queues() []Queue
	// Link reads whether the NIC has a link.
	Link() (up bool, err error)
	// Watch follows the link until ctx is done; changed is called after each change since
	// Open. It returns early with the reason when the card does not work any more, and
	// wraps virtiopci.ErrAbsent when all its registers read as ones.
	Watch(ctx context.Context, changed func(up bool)) error
	// Spread tells the card at how many of its queue pairs, the first ones, frames shall
	// arrive. The error is ErrRefused, wrapped, of a card that works otherwise.
	Spread(pairs int) error
	// Statistics are the card's own counters, since it was opened; it may have none.
	Statistics() []Statistic
	// Close stops the card: it reads and writes our memory no more when Close has returned.
	// Watch has returned, and no forwarder uses the queue pairs. Registers that do not
	// answer any more are no error.
	Close() error
}

// ErrRefused says that a card keeps to the queue pairs that it chooses itself.
var ErrRefused = errors.New("the NIC spreads frames as it likes")

// Info is what there is to say of a card.
type Info struct {
	Name         string           // "virtio-net:0000:00:04.0"
	MAC          net.HardwareAddr // nil if the card does not say
	MTU          int              // 0 if the card does not say, which means 1500
	Sends, Takes virtionet.Offloads
	Details      string // for the log: what was negotiated or found
}

// Statistic is one of a card's own counters.
type Statistic struct {
	Name  string
	Value uint64
}

// Queue is a queue pair of a card, as those who forward see it. A driver need not think of
// the link (without one nothing is sent, and Slot sees to it), nor of being replaced.
type Queue interface {
	netfwd.Port
	netfwd.Sleeper
	// InFlight takes back what the card has sent, and returns how many frames, or
	// parts of frames, it still has, and how many it was done with since it was opened.
	// Called by the forwarder, now and then: a card that has some and makes no progress
	// hangs.
	InFlight() (pending int, done uint64)
}
