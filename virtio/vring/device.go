package vring

import (
	"fmt"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/order"
)

// FirstSlot is where a packed ring begins: slot 0, wrap counter 1.
const FirstSlot uint16 = 1 << 15

// DeviceConfig describes a ring that a guest's driver owns and we serve.
type DeviceConfig struct {
	Size  int        // entries, a power of two unless Packed
	Mem   *mem.Table // the guest's memory; stays mapped as long as the ring is used
	Desc  mem.GPA    // descriptor table, or ring of descriptors
	Avail mem.GPA    // avail ring, or driver event area
	Used  mem.GPA    // used ring, or device event area

	Packed   bool // VIRTIO_F_RING_PACKED was negotiated
	EventIdx bool // VIRTIO_F_EVENT_IDX was negotiated
	Indirect bool // VIRTIO_F_INDIRECT_DESC was negotiated
	InOrder  bool // VIRTIO_F_IN_ORDER was negotiated: chains are pushed as they were popped

	// NotifyOnEmpty is VIRTIO_F_NOTIFY_ON_EMPTY, which only drivers of before the specification
	// have (6.3): whatever else they want, they want an interrupt when nothing is left of what they
	// offered. Some ask for no other. Not with Packed.
	NotifyOnEmpty bool

	// ReadOnly is for a ring with whose buffers the device does nothing but read them.
	// Write flags in indirect tables of a packed ring are ignored then: DPDK's driver
	// leaves them as its tables were made, set for a frame's header and now and then for
	// another part, and its own back-end does not look at them.
	ReadOnly bool

	// NextAvail is where to go on (SET_VRING_BASE): the avail index, 0 after a reset,
	// or for a packed ring the next slot with the wrap counter as bit 15, FirstSlot
	// after a reset.
	NextAvail uint16

	// Track, if not nil, records what is in our hands. Resumed is what NewTracker said.
	Track   *Tracker
	Resumed bool
}

// Device is the device side of a ring, split or packed. One goroutine owns it.
//
// A burst is: Available, then PopBurst or Pop as often as wanted, Push for each
// chain when its buffers are done with, Publish, and if NeedSignal says so an
// interrupt.
// Chains are completed in any order; views from Pop are valid until ResetViews.
//
// What both formats have in common is here, and the rest in splitDevice and packedDevice,
// of one of which a Device is a part.
type Device struct {
	format deviceFormat
	short  opFormat

	eventIdx bool
	indirect bool
	onEmpty  bool // see NotifyOnEmpty
	readOnly bool
	skips    bool // one used element, of the last, completes all that are published together
	size     uint16

	// Both formats count chains; in a split ring the counts are its indices.
	nextAvail uint16 // next chain to pop
	seenAvail uint16 // chains offered as of the last Available
	nextUsed  uint16 // chains pushed
	published uint16 // of these, those that the driver sees
	lead      uint16 // nextAvail - nextUsed when nothing is in our hands

	signalledValid bool // false until the first decision on an interrupt: then always one
	offered        bool // see Offered

	region mem.Region   // the one hit last
	views  [][]byte     // backing of the chains popped since ResetViews
	pushed []completion // chains pushed that the driver does not see, at most as many as are popped in a burst
	work   int          // steps that it took to pop the views, see maxWork
	fault  error
	mem    *mem.Table
	table  []byte   // private copy of the indirect table at work
	offers offers   // that writeSpread looks at
	single [1]Chain // of Pop: what a call through format takes would not be on the caller's stack

	logging *Logging // nil: no one wants to know what is written

	track   *Tracker // nil: no one wants to know what is in our hands
	resumed bool     // see Resumed
	intent  Intent
	began   uint16
}

// deviceFormat is what the two formats do differently. The ring has no fault when it is
// called, but for position and move.
type deviceFormat interface {
	available() int                       // Available
	pop(chains []Chain) int               // PopBurst, of chains that were seen
	unpop(n int)                          // after the common counts
	publish()                             // pushed, of which there is some, and marks what it writes if the ring is logged
	needSignal() bool                     // NeedSignal, after the fence
	setKicks(wanted bool)                 // asks for kicks, or for none
	position() (base uint32, used uint16) // Position, and where the next completion goes
	placeIn(t *mem.Table, at [3]mem.GPA) (*Place, error)
	move(p *Place)
	record(t *Tracker) trackFormat // the record of this ring in the memory of t
}

// completion is a chain that we are done with.
type completion struct {
	head    uint16
	written uint32
}

// NewDevice checks the ring's place in guest memory and returns its device side.
// It reads the used.idx of a split ring to go on where an earlier device side stopped.
func NewDevice(cfg DeviceConfig) (*Device, error) {
	if err := checkSize(cfg.Size, cfg.Packed); err != nil {
		return nil, fmt.Errorf("%d entries: %w", cfg.Size, err)
	}
	place, err := newPlace(cfg.Size, cfg.Packed, cfg.Mem, [3]mem.GPA{cfg.Desc, cfg.Avail, cfg.Used})
	if err != nil {
		return nil, err
	}
	common := Device{
		size: uint16(cfg.Size), eventIdx: cfg.EventIdx, indirect: cfg.Indirect, onEmpty: cfg.NotifyOnEmpty, readOnly: cfg.ReadOnly,
		// What was written into buffers without an element of their own cannot be said: they
		// count as filled (2.7.9).
		skips: cfg.InOrder && cfg.ReadOnly,
		views: make([][]byte, 0, 256), pushed: make([]completion, 0, max(256, cfg.Size)), mem: cfg.Mem,
	}
	var q *Device
	if cfg.Packed {
		q, err = newPackedDevice(common, place, cfg.NextAvail)
	} else {
		q, err = newSplitDevice(common, place, cfg.NextAvail), nil
	}
	if err != nil {
		return nil, err
	}
	if cfg.Track != nil {
		q.resume(cfg.Track, cfg.Resumed)
	}
	return q, nil
}

// Size is the number of entries.
func (q *Device) Size() int { return int(q.size) }

// Owns reports whether addr, an address of this process, lies in the memory that
// the ring and its buffers are in, or where writes to it or what is in our hands is noted.
func (q *Device) Owns(addr uintptr) bool {
	return q.mem.Owns(addr) || q.logging != nil && q.logging.Memory.Owns(addr) || q.track != nil && q.track.owns(addr)
}

// NextAvail is where the next chain to pop is, as DeviceConfig.NextAvail is.
func (q *Device) NextAvail() uint16 {
	base, _ := q.format.position()
	return uint16(base)
}

// Position is what GET_VRING_BASE reports: NextAvail and, for a packed ring, in the
// upper half where the next completion goes. Once everything popped has been pushed
// that is the same.
func (q *Device) Position() uint32 {
	base, _ := q.format.position()
	return base
}

// Err is the fault that stopped the ring, or nil.
func (q *Device) Err() error { return q.fault }

// Fail stops the ring: no chain is handed out any more and nothing is published.
// The first reason is kept.
func (q *Device) Fail(reason error) {
	if q.fault == nil {
		q.fault = reason
		q.seenAvail = q.nextAvail
	}
}

// Available looks once for chains (acquire) and returns how many wait. Of a long packed
// ring one look may see only the first of them, and the next one more. An index that is
// impossibly far ahead faults the ring.
func (q *Device) Available() int {
	if q.fault != nil {
		return 0
	}
	return q.format.available()
}

// Pending is the number of chains that the last Available saw and that have not
// been popped yet.
func (q *Device) Pending() int { return int(q.seenAvail - q.nextAvail) }

// Offered reports whether the driver has ever offered a chain since it laid the ring out,
// as far as can be known: a ring that goes on elsewhere than at the beginning was used
// before. Ask before the first Pop; until it is true each call is a look.
func (q *Device) Offered() bool {
	if !q.offered {
		q.offered = q.Available() > 0
	}
	return q.offered
}

// Unpop takes back the last n pops, which must not have been pushed. They can be
// popped again unless the ring has a fault by now.
func (q *Device) Unpop(n int) {
	if q.track != nil {
		q.track.give(n)
	}
	q.nextAvail -= uint16(n)
	q.format.unpop(n)
	if q.fault != nil {
		q.seenAvail = q.nextAvail
	}
}

// Rewind takes back every pop that has not been pushed, for a ring whose chains
// are completed in ring order: for a burst that was broken off.
func (q *Device) Rewind() { q.Unpop(int(q.nextAvail - q.nextUsed - q.lead)) }

// Push queues the completion of the chain with this head: written is the number
// of bytes that the device wrote into its writable buffers. The driver sees it
// after Publish.
func (q *Device) Push(head uint16, written uint32) {
	q.pushed = append(q.pushed, completion{head, written})
	q.nextUsed++
}

// Publish writes everything pushed into the ring and makes it visible to the driver
// with one release store. It reports whether there was anything to publish.
func (q *Device) Publish() bool {
	if q.nextUsed == q.published || q.fault != nil {
		return false
	}
	if q.track != nil {
		q.track.prepare(q.pushed)
	}
	q.format.publish()
	if q.track != nil {
		q.track.finish(q.pushed)
	}
	q.pushed = q.pushed[:0]
	q.published = q.nextUsed
	return true
}

// NeedSignal decides, after Publish, whether the driver wants an interrupt. Only
// the ring's own state counts (2.7.7, 2.8.10): what the driver asks for against what
// was published since the last decision.
func (q *Device) NeedSignal() bool {
	if q.fault != nil {
		return false
	}
	order.Fence() // what was published must be visible before the driver's wish is read
	return q.format.needSignal()
}

// ForgetSignals makes the next decision an interrupt, whatever event the driver
// waits for: for a call that becomes usable late, when earlier interrupts may be lost.
func (q *Device) ForgetSignals() { q.signalledValid = false }

// DisableKicks asks the driver not to notify us; it is a hint. A ring that has a fault is
// left alone, and so is its log: either may be the memory that vanished.
func (q *Device) DisableKicks() {
	if q.fault != nil {
		return
	}
	q.format.setKicks(false)
}

// EnableKicks asks the driver to notify us of the next chain beyond those that
// the last Available saw, and reports whether any is waiting, old or new. No one
// may sleep on new ones; chains left pending, too small for the frame at hand,
// give no notification: compare Pending before and after.
func (q *Device) EnableKicks() (waiting bool) {
	if q.fault != nil {
		return false
	}
	q.format.setKicks(true)
	order.Fence() // our wish must be visible before the last look
	return q.Available() > 0
}
