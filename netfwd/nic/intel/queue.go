package intel

import (
	"fmt"
	"sync/atomic"
	"time"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	virtionet "vvufwd/virtio/net"
)

// MTU is the largest packet that the family carries: frames may have 9022 bytes with a VLAN
// tag and the CRC.
const MTU = 9000

// Allocator hands out memory that the chip can reach.
type Allocator interface {
	Alloc(size, align int) (dma.Memory, error)
}

// QueueConfig is what a queue pair is made of.
type QueueConfig struct {
	Name   string
	Memory Allocator
	Size   int // entries of a ring at most, see RingSize
	Format Format
	MTU    int // bytes

	RxTail, TxTail mmio.Space // RDT and TDT
	Interrupts     Interrupts
	WakeFDs        []int // that become readable with the two interrupts
	// Vocal makes the queue watch the source addresses of what it sends, see Voices.
	Vocal *Voices
	// OneContext is for a chip that keeps one transmit context for several queues, the last one that any had, so that
	// each frame with a checksum to be completed takes its own (82574 chapter 7, multiple transmit queues).
	OneContext bool
	// SwappedTags is for a chip that hands out VLAN tags of what other functions of the card send with their bytes swapped
	// (I350, as Linux's driver igbvf says).
	SwappedTags bool
}

// Interrupts are the registers by which those of a queue pair are switched on and off.
type Interrupts struct {
	Registers mmio.Space
	// Set and Clear are where they are unmasked and masked, Cause is where the chip remembers
	// those that would have come: ones clear it.
	Set, Clear, Cause uint64
	Rx, Tx            uint32
}

// Queue is a queue pair: a nic.Queue. Its methods belong to the goroutine that forwards.
type Queue struct {
	name     string
	counters virtionet.Counters
	rx       receiver
	tx       transmitter
	irq      Interrupts
	awake    bool // interrupts are off
	wakeFDs  []int
	voices   *Voices
	whole    atomic.Bool // the chip is not to be asked for segments; control's to say
}

// Largest and least number of descriptors: their bytes are a multiple of 128, and a frame
// of 64 KiB with all that it takes fits into the least with room for others.
const (
	minRing = 64
	maxRing = 4096
)

// RingSize is the number of entries that rings have if there are to be about n.
func RingSize(n int) int {
	size := minRing
	for size*2 <= n && size < maxRing {
		size *= 2
	}
	return size
}

// NewQueue lays out rings and buffers. The chip knows nothing of them yet: it is told where
// they are (Rings), and to use them, and then comes Start.
func NewQueue(cfg QueueConfig) (*Queue, error) {
	size := RingSize(cfg.Size)
	q := &Queue{name: cfg.Name, irq: cfg.Interrupts, awake: true, wakeFDs: cfg.WakeFDs, voices: cfg.Vocal}
	maxFrame := virtionet.FrameOf(cfg.MTU)
	var err error
	if q.rx.ring, q.rx.buffers, err = allocate(cfg.Memory, size); err != nil {
		return nil, fmt.Errorf("%s: receive ring: %w", cfg.Name, err)
	}
	if q.tx.ring, q.tx.buffers, err = allocate(cfg.Memory, size); err != nil {
		return nil, fmt.Errorf("%s: transmit ring: %w", cfg.Name, err)
	}
	q.rx.init(size, maxFrame, cfg.RxTail)
	q.tx.init(size, maxFrame, cfg.Format, cfg.TxTail)
	q.tx.oneContext, q.rx.swappedTags = cfg.OneContext, cfg.SwappedTags
	return q, nil
}

func allocate(alloc Allocator, size int) (r ring, b buffers, err error) {
	memory, err := alloc.Alloc(16*size, 4096)
	if err != nil {
		return r, b, err
	}
	r = newRing(memory, size)
	if memory, err = alloc.Alloc(size*BufferSize, 4096); err != nil {
		return r, b, err
	}
	return r, newBuffers(memory, size), nil
}

// Layout is where the rings are, and how long in bytes.
func (q *Queue) Layout() (rx, tx dma.IOVA, bytes uint32) {
	return q.rx.iova, q.tx.iova, 16 * uint32(q.rx.size)
}

// Start gives all receive buffers but one to the chip, which has been told to use the rings.
func (q *Queue) Start() {
	q.rx.start()
	q.DisableKicks()
	q.irq.Registers.Store32(q.irq.Clear, q.irq.Rx|q.irq.Tx)
}

// Name identifies the port in logs and counters.
func (q *Queue) Name() string { return q.name }

// Counters are the port's counters.
func (q *Queue) Counters() *virtionet.Counters { return &q.counters }

// WakeFDs are the eventfds of the two interrupts.
func (q *Queue) WakeFDs() []int { return q.wakeFDs }

// LongestSleep is short enough that no one's connection breaks. EnableKicks leaves no gap by
// the manual, but interrupts of real cards have errata.
func (q *Queue) LongestSleep() time.Duration { return 2 * time.Second }

// Recover drops what is held when a fault elsewhere broke a burst off. What is to be sent
// is whole or not in the ring.
func (q *Queue) Recover() {
	q.abandon()
	q.Notify()
}

// Notify tells the chip of what was published since the last time.
func (q *Queue) Notify() {
	if q.tx.tell() {
		q.counters.Interrupts++
	}
	if q.rx.owed() >= q.rx.lot && q.rx.tell() {
		q.counters.Interrupts++
	}
}

// InFlight is nic.Queue's.
func (q *Queue) InFlight() (pending int, done uint64) {
	q.tx.reclaim()
	return q.tx.pending(), q.tx.finished
}

// DisableKicks asks the chip not to interrupt us while we poll.
func (q *Queue) DisableKicks() {
	if !q.awake {
		q.awake = true
		q.irq.Registers.Store32(q.irq.Clear, q.irq.Rx|q.irq.Tx)
	}
}

// EnableKicks asks the chip to interrupt us when a frame arrives and, if forRoom is set,
// when it has sent one. It reports which of the two is there already.
func (q *Queue) EnableKicks(forRoom bool) (frames, room bool) {
	q.rx.tell()
	bits := q.irq.Rx
	if forRoom {
		bits |= q.irq.Tx
	}
	// What was remembered while we polled is forgotten first: it would wake us for nothing.
	q.irq.Registers.Store32(q.irq.Cause, bits)
	q.irq.Registers.Store32(q.irq.Set, bits)
	q.awake = false
	// The look at the rings comes after the stores have arrived: reading a register that
	// has no side effect waits for them.
	q.irq.Registers.Load32(q.irq.Set)
	if forRoom {
		room = q.tx.reclaim() > 0 || q.tx.pending() == 0
	}
	return q.rx.ready(), room
}

// QueueName is the name of queue pair i of a card.
func QueueName(card string, i int) string {
	if i == 0 {
		return card
	}
	return fmt.Sprintf("%s/q%d", card, i)
}
