package vring

import (
	"fmt"

	"vvufwd/virtio/mem"
)

// DeviceConfig describes a ring that a guest's driver owns and we serve.
type DeviceConfig struct {
	Size  int        // entries, a power of two
	Mem   *mem.Table // the guest's memory; stays mapped as long as the ring is used
	Desc  mem.GPA    // descriptor table
	Avail mem.GPA    // avail ring
	Used  mem.GPA    // used ring

	EventIdx bool // VIRTIO_F_EVENT_IDX was negotiated
	Indirect bool // VIRTIO_F_INDIRECT_DESC was negotiated

	// NextAvail is the avail index to go on at (SET_VRING_BASE): 0 after a reset.
	NextAvail uint16
}

// Device is the device side of a split ring. One goroutine owns it.
//
// A burst is: Available, then PopBurst or Pop as often as wanted, Push for each
// chain when its buffers are done with, Publish, and if NeedSignal says so an
// interrupt.
// Chains are completed in any order; views from Pop are valid until ResetViews.
type Device struct {
	desc  table
	avail avail
	used  used
	mem   *mem.Table
	size  uint16

	eventIdx bool
	indirect bool

	nextAvail uint16 // next avail entry to pop
	seenAvail uint16 // avail.idx as of the last Available
	nextUsed  uint16 // where the next used element goes
	published uint16 // used.idx as the driver sees it
	lead      uint16 // nextAvail - nextUsed when nothing is in our hands

	signalledUsed  uint16 // used.idx at the last decision on an interrupt
	signalledValid bool   // false until the first decision: then always interrupt

	region mem.Region // the one hit last
	views  [][]byte   // backing of the chains popped since ResetViews
	work   int        // steps that it took to pop them, see maxWork
	table  []byte     // private copy of the indirect table at work
	fault  error
}

// NewDevice checks the ring's place in guest memory and returns its device side.
// It reads used.idx to go on where an earlier device side stopped.
func NewDevice(cfg DeviceConfig) (*Device, error) {
	if err := checkSize(cfg.Size); err != nil {
		return nil, fmt.Errorf("%d entries: %w", cfg.Size, err)
	}
	view := func(name string, addr mem.GPA, n int) ([]byte, error) {
		b, ok := cfg.Mem.View(addr, uint64(n))
		if !ok {
			return nil, fmt.Errorf("%s of %d bytes at %#x: %w", name, n, addr, FaultUnmapped)
		}
		return b, nil
	}
	desc, err := view("descriptor table", cfg.Desc, TableBytes(cfg.Size))
	if err != nil {
		return nil, err
	}
	av, err := view("avail ring", cfg.Avail, AvailBytes(cfg.Size))
	if err != nil {
		return nil, err
	}
	us, err := view("used ring", cfg.Used, UsedBytes(cfg.Size))
	if err != nil {
		return nil, err
	}
	q := &Device{
		mem: cfg.Mem, size: uint16(cfg.Size), eventIdx: cfg.EventIdx, indirect: cfg.Indirect,
		nextAvail: cfg.NextAvail, seenAvail: cfg.NextAvail,
		views: make([][]byte, 0, 256),
	}
	if q.desc, q.avail, q.used, err = rings(cfg.Size, desc, av, us); err != nil {
		return nil, err
	}
	q.nextUsed = load16(q.used.idx())
	q.published = q.nextUsed
	q.lead = q.nextAvail - q.nextUsed
	return q, nil
}

// Size is the number of entries.
func (q *Device) Size() int { return int(q.size) }

// Owns reports whether addr, an address of this process, lies in the memory that
// the ring and its buffers are in.
func (q *Device) Owns(addr uintptr) bool { return q.mem.Owns(addr) }

// NextAvail is the index of the next avail entry to pop, which GET_VRING_BASE
// reports once everything popped has been pushed.
func (q *Device) NextAvail() uint16 { return q.nextAvail }

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

// Available looks once at avail.idx (acquire) and returns how many chains wait.
// An index that is impossibly far ahead faults the ring.
func (q *Device) Available() int {
	if q.fault != nil {
		return 0
	}
	idx := load16(q.avail.idx())
	waiting := idx - q.nextAvail
	if waiting > q.size {
		q.Fail(FaultAvailIndex)
		return 0
	}
	q.seenAvail = idx
	return int(waiting)
}

// Pending is the number of chains that the last Available saw and that have not
// been popped yet.
func (q *Device) Pending() int { return int(q.seenAvail - q.nextAvail) }

// Unpop takes back the last n pops, which must not have been pushed. They can be
// popped again unless the ring has a fault by now.
func (q *Device) Unpop(n int) {
	q.nextAvail -= uint16(n)
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
	q.used.put(q.nextUsed, uint32(head), written)
	q.nextUsed++
}

// Publish makes everything pushed visible to the driver with one release store.
// It reports whether there was anything to publish.
func (q *Device) Publish() bool {
	if q.nextUsed == q.published || q.fault != nil {
		return false
	}
	storeRelease16(q.used.idx(), q.nextUsed)
	q.published = q.nextUsed
	return true
}

// NeedSignal decides, after Publish, whether the driver wants an interrupt. Only
// the ring's own state counts (2.7.7): the driver's flag, or its used_event
// against what was published since the last decision.
func (q *Device) NeedSignal() bool {
	if q.fault != nil {
		return false
	}
	fullFence() // used.idx must be visible before the driver's wish is read
	if !q.eventIdx {
		return load16(q.avail.flags())&availNoInterrupt == 0
	}
	old, valid := q.signalledUsed, q.signalledValid
	q.signalledUsed, q.signalledValid = q.published, true
	return !valid || crosses(load16(q.avail.usedEvent()), q.published, old)
}

// ForgetSignals makes the next decision an interrupt, whatever used_event says:
// for a call that becomes usable late, when earlier interrupts may be lost.
func (q *Device) ForgetSignals() { q.signalledValid = false }

// DisableKicks asks the driver not to notify us; it is a hint. With EVENT_IDX
// the stale avail_event already keeps it silent for most of 65536 buffers.
func (q *Device) DisableKicks() {
	if !q.eventIdx && q.fault == nil {
		storeRelease16(q.used.flags(), usedNoNotify)
	}
}

// EnableKicks asks the driver to notify us of the next chain beyond those that
// the last Available saw, and reports whether any is waiting, old or new. Nobody
// may sleep on new ones; chains left pending, too small for the frame at hand,
// give no notification: compare Pending before and after.
func (q *Device) EnableKicks() (waiting bool) {
	if q.fault != nil {
		return false
	}
	if q.eventIdx {
		// Not nextAvail: the driver has passed that already if chains are pending.
		storeRelease16(q.used.availEvent(), q.seenAvail)
	} else {
		storeRelease16(q.used.flags(), 0)
	}
	fullFence() // our wish must be visible before the last look
	return q.Available() > 0
}
