package driver

import (
	"fmt"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Notifier tells a device that a queue has new buffers.
type Notifier interface{ Notify() }

// Port is the driver side of one virtio-net queue pair. It owns as many
// buffers as its rings have entries, so that a frame costs one descriptor for each
// buffer that it fills: one, but for segments that the device is to cut and for what is
// longer than a buffer.
//
// All methods but Rings and Start belong to the goroutine that forwards.
type Port struct {
	name     string
	counters virtionet.Counters

	onFail   func(ring string, err error)
	reported [2]bool

	rx, tx             *vring.Driver
	rxBuffers          buffers
	txBuffers          buffers
	sent               uint64 // frames that the device is done with
	rxNotify, txNotify Notifier

	headerLen int
	mergeable bool
	maxFrame  int
	sends     virtionet.Offloads // what the device may leave undone in frames that arrive
	takes     virtionet.Offloads // what may be left to it in frames that are sent
	wakeFDs   []int

	// The receive buffer that each descriptor holds. It is not simply its
	// number: a descriptor is free again as soon as its buffer is taken, while
	// the buffer is in our hands until it is released.
	rxBufferOf []uint16

	// What the last rxFrames took, oldest first: the buffers, and for each frame
	// where the buffers end that go back with it.
	taken    []uint16
	frameEnd [virtionet.MaxBurst]int
	held     int // frames handed out
	released int // of these, given back
	refilled int // of taken, given back

	parser *virtionet.HeaderParser
	gso    *virtionet.SoftwareGSO

	views [][]byte
	parts [1]vring.Part
	// For frames that take several transmit buffers.
	heads      []uint16
	chainParts []vring.Part
	burstParts [virtionet.MaxBurst]vring.Part
}

// buffers is the memory of a ring's buffers, which are equal.
type buffers struct {
	memory Memory
	size   int
}

func (b *buffers) bytes(i uint16) []byte {
	off := int(i) * b.size
	return b.memory.Bytes[off : off+b.size : off+b.size]
}

func (b *buffers) addr(i uint16) uint64 {
	return b.memory.Addr + uint64(int(i)*b.size)
}

// count is how many buffers hold n bytes.
func (b *buffers) count(n int) int { return (n + b.size - 1) / b.size }

// smallBuffer holds a whole frame of the usual MTU with its header; a power of
// two keeps buffers from sharing a page more than needed.
const smallBuffer = 2048

// defaultMTU is that of a device that does not say.
const defaultMTU = 1500

// bufferSize is the size of a buffer that holds header and frame.
func bufferSize(headerLen, maxFrame int) int {
	if need := headerLen + maxFrame; need > smallBuffer {
		return (need + 63) &^ 63
	}
	return smallBuffer
}

// Memory is memory that the device can reach.
type Memory struct {
	Bytes []byte
	Addr  uint64 // where the device sees Bytes[0]
}

// Allocator hands out zeroed memory, at multiples of align, a power of two.
type Allocator interface {
	Alloc(size, align int) (Memory, error)
}

// Config is what negotiation with the device found out.
type Config struct {
	Name           string
	Features       virtio.Features              // negotiated
	MTU            int                          // 0: the device does not say, 1500 holds
	RxSize, TxSize int                          // ring entries
	OnFail         func(ring string, err error) // told once for each ring that breaks; it must not block
	WakeFDs        []int                        // see Port.WakeFDs

	// Jumbo says that frames of any length are sent, whatever the MTU, in chains of small
	// buffers: for a device that has no wire behind it.
	Jumbo bool
}

// New lays out rings and buffers. Nothing is visible to the device before
// Start.
func New(cfg Config, alloc Allocator) (*Port, error) {
	mtu := cfg.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	n := &Port{
		name: cfg.Name, onFail: cfg.OnFail, wakeFDs: cfg.WakeFDs,
		headerLen: virtionet.HeaderSize(cfg.Features), mergeable: cfg.Features.Has(virtio.NetMrgRxbuf),
		maxFrame: virtionet.FrameOf(mtu),
		sends:    virtionet.OffloadsToDriver(cfg.Features), takes: virtionet.OffloadsToDevice(cfg.Features),
		parser: &virtionet.HeaderParser{}, gso: &virtionet.SoftwareGSO{},
		rxBufferOf: make([]uint16, cfg.RxSize),
		taken:      make([]uint16, 0, cfg.RxSize), views: make([][]byte, 0, cfg.RxSize),
	}
	rxBuffer := bufferSize(n.headerLen, n.maxFrame)
	txBuffer := rxBuffer
	if n.mergeable {
		rxBuffer = smallBuffer
	}
	if cfg.Jumbo {
		n.maxFrame, txBuffer = virtionet.MaxFrame, smallBuffer
	}
	var err error
	if n.rx, n.rxBuffers, err = newQueue(alloc, cfg.Features, cfg.RxSize, rxBuffer); err != nil {
		return nil, fmt.Errorf("receive ring: %w", err)
	}
	if n.tx, n.txBuffers, err = newQueue(alloc, cfg.Features, cfg.TxSize, txBuffer); err != nil {
		return nil, fmt.Errorf("transmit ring: %w", err)
	}
	chain := n.txBuffers.count(n.headerLen + virtionet.MaxFrame)
	if chain > cfg.TxSize {
		n.takes &^= virtionet.OffloadGSO // the longest would never fit
	}
	n.heads, n.chainParts = make([]uint16, max(chain, cfg.TxSize)), make([]vring.Part, chain)
	return n, nil
}

func newQueue(alloc Allocator, features virtio.Features, size, buffer int) (*vring.Driver, buffers, error) {
	ring, err := alloc.Alloc(vring.DriverBytes(size), 4096)
	if err != nil {
		return nil, buffers{}, err
	}
	memory, err := alloc.Alloc(size*buffer, 4096)
	if err != nil {
		return nil, buffers{}, err
	}
	q, err := vring.NewDriver(vring.DriverConfig{
		Size: size, Memory: ring.Bytes, Base: ring.Addr,
		Packed: features.Has(virtio.RingPacked), EventIdx: features.Has(virtio.EventIdx),
	})
	return q, buffers{memory, buffer}, err
}

// Rings are where the rings are that the device is to be told of.
func (n *Port) Rings() (rx, tx *vring.Driver) { return n.rx, n.tx }

// Start offers every receive buffer to the device, which rx and tx tell of new buffers. No one
// forwards yet.
func (n *Port) Start(rx, tx Notifier) {
	n.rxNotify, n.txNotify = rx, tx
	for i := range n.rx.Size() {
		n.post(uint16(i))
	}
	n.rx.DisableInterrupts()
	n.tx.DisableInterrupts()
	n.rx.Publish()
	n.Notify()
}

// post offers receive buffer i to the device.
func (n *Port) post(i uint16) {
	n.parts[0] = vring.Part{Addr: n.rxBuffers.addr(i), Len: uint32(n.rxBuffers.size)}
	head, err := n.rx.Add(nil, n.parts[:])
	if err != nil {
		n.report(0, err)
		return
	}
	n.rxBufferOf[head] = i
}

// Notify tells the device of what was published since the last time, if it wants
// to know.
func (n *Port) Notify() {
	n.kick(n.rx, n.rxNotify)
	n.kick(n.tx, n.txNotify)
}

func (n *Port) kick(q *vring.Driver, notify Notifier) {
	if q.Unkicked() && q.NeedKick() {
		notify.Notify()
		n.counters.Interrupts++
	}
}

// Name identifies the port in logs and counters.
func (n *Port) Name() string { return n.name }

// MaxFrame is the longest frame that can be sent, without header and FCS.
func (n *Port) MaxFrame() int { return n.maxFrame }

// WakeFDs are the eventfds that become readable when the device has filled
// receive buffers or sent frames, as far as it was asked to tell.
func (n *Port) WakeFDs() []int { return n.wakeFDs }

// Counters are the port's counters, owned by the forwarder.
func (n *Port) Counters() *virtionet.Counters { return &n.counters }

// Recover drops what is held when a fault elsewhere broke a burst off. Frames to
// be sent are whole or not in the ring.
func (n *Port) Recover() {
	n.abandon()
	n.tx.Publish()
	n.Notify()
}

// report tells about a broken ring once.
func (n *Port) report(ring int, err error) {
	if !n.reported[ring] {
		n.reported[ring] = true
		n.onFail([]string{"receive", "transmit"}[ring], err)
	}
}

// DisableKicks asks the device not to interrupt us while we poll.
func (n *Port) DisableKicks() {
	n.rx.DisableInterrupts()
	n.tx.DisableInterrupts()
}

// EnableKicks asks the device to interrupt us when a frame arrives and, if
// forRoom is set, when it has sent one. It reports which of the two is there
// already, in which case no one may sleep. A ring that this look finds broken is
// reported: no one may look at it for long.
func (n *Port) EnableKicks(forRoom bool) (frames, room bool) {
	frames = n.rx.EnableInterrupts()
	if forRoom {
		room = n.tx.EnableInterrupts()
	}
	for ring, q := range []*vring.Driver{n.rx, n.tx} {
		if err := q.Err(); err != nil {
			n.report(ring, err)
		}
	}
	return frames, room
}
