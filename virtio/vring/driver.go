package vring

import (
	"errors"
	"fmt"

	"vvufwd/virtio/order"
)

// DriverConfig describes a ring that we own and a device serves.
type DriverConfig struct {
	Size     int    // entries, a power of two unless Packed
	Memory   []byte // at least DriverBytes(Size), zeroed, 16-aligned, reachable by the device
	Base     uint64 // address of Memory[0] for the device (IOVA)
	Packed   bool   // VIRTIO_F_RING_PACKED was negotiated
	EventIdx bool   // VIRTIO_F_EVENT_IDX was negotiated
	InOrder  bool   // VIRTIO_F_IN_ORDER was negotiated: one completion may stand for several

	// AnyUsedLen makes a used length that exceeds its buffer no fault: Used.Len is at most what the
	// device may write. For buffers that say themselves what was written.
	AnyUsedLen bool

	// IndirectMemory, if not nil, makes Add use indirect tables for buffers of
	// several parts: IndirectParts descriptors for each entry of the ring, at
	// IndirectBase. Only with VIRTIO_F_INDIRECT_DESC.
	IndirectMemory []byte
	IndirectBase   uint64
	IndirectParts  int
}

// Part is one piece of a buffer for the device.
type Part struct {
	Addr uint64 // IOVA
	Len  uint32 // bytes
}

// Used is a buffer that the device has finished with.
type Used struct {
	Head  uint16 // as returned by Add
	parts uint16 // descriptors that it held
	Len   uint32 // bytes the device wrote into the buffer's writable parts
}

// ErrFull reports that the ring lacks descriptors for a buffer.
var ErrFull = errors.New("ring is full")

// Driver is the driver side of a ring, split or packed. One goroutine owns it.
//
// Add offers buffers, Publish shows them to the device and NeedKick says whether
// it wants to be told. Completed looks for finished buffers and Take hands them
// out; the descriptors of a taken buffer are free again.
//
// What both formats have in common is here, and the rest in splitDriver and packedDriver,
// of one of which a Driver is a part.
type Driver struct {
	format driverFormat

	eventIdx   bool
	anyUsedLen bool
	size       uint16
	base       uint64

	indirect      []byte
	indirectBase  uint64
	indirectParts int

	// Private bookkeeping: the device can write none of it. A buffer is named by a
	// descriptor of the split ring; a packed ring has as many names as it has slots,
	// and a buffer takes as many of them as slots, so that both are used up together.
	next     []uint16 // free list, and the links of outstanding chains
	parts    []uint16 // descriptors held by the chain that starts here, 0 if none does
	writable []uint32 // bytes the device may write into that chain
	freeHead uint16
	free     uint16
	inUse    uint16 // outstanding buffers

	// Both formats count buffers; in a split ring the counts are its indices.
	nextAvail uint16 // buffers added
	published uint16 // of these, those that the device sees
	kickedAt  uint16 // published at the last decision on a kick
	nextUsed  uint16 // next completion to take
	seenUsed  uint16 // completions as of the last Completed
	fault     error

	// What Completed saw. A buffer of a packed ring says how many slots its completion
	// skips, and to look at the next one means to know that: the device's answers are read
	// once.
	done   []Used // checked
	taken  int    // of done, handed out
	broken Fault  // of the completion after them, if any

	// With IN_ORDER: names of outstanding buffers, as they were added, in a ring of size
	// places. nil without.
	order  []uint16
	oldest uint16 // of order, that Completed has not seen
	newest uint16 // of order, the next place
}

// driverFormat is what the two formats do differently. The ring has no fault when it is
// called.
type driverFormat interface {
	// add writes a buffer, of n parts, into as many free descriptors from head on. It
	// returns how many bytes of it the device may write, and which descriptor is free next.
	add(head uint16, read, write []Part) (writable uint32, next uint16)
	// addTable writes a buffer into an indirect table, and offers that.
	addTable(head uint16, table []byte, at uint64, read, write []Part) (writable uint32)
	// addEach writes buffers of one part that the device reads, into as many free
	// descriptors from head on. It returns which is free next.
	addEach(head uint16, parts []Part) (next uint16)
	// renew offers buffers that were taken again, as they were. It returns how many it could.
	renew(taken []Used) int
	publish()                 // what was added, of which there is some
	needKick(old uint16) bool // NeedKick, after the fence; old is published at the last decision
	look()                    // for completions, which it notes until one is broken
	setInterrupts(wanted bool)
}

const (
	tableAlign = 16
	usedAlign  = 4
)

func usedOffset(n int) int { return (TableBytes(n) + AvailBytes(n) + usedAlign - 1) &^ (usedAlign - 1) }

// DriverBytes is the memory that a Driver with n entries needs: table, avail
// ring and used ring one after the other. The parts of a packed ring, which are
// smaller, lie at the same places, so that the event areas share no cache line.
func DriverBytes(n int) int {
	return (usedOffset(n) + UsedBytes(n) + tableAlign - 1) &^ (tableAlign - 1)
}

// NewDriver lays a ring out in cfg.Memory. The device must not look at it yet.
func NewDriver(cfg DriverConfig) (*Driver, error) {
	n := cfg.Size
	if err := checkSize(n, cfg.Packed); err != nil {
		return nil, fmt.Errorf("%d entries: %w", n, err)
	}
	if len(cfg.Memory) < DriverBytes(n) {
		return nil, fmt.Errorf("ring of %d entries needs %d bytes, got %d", n, DriverBytes(n), len(cfg.Memory))
	}
	if cfg.IndirectMemory != nil && (cfg.IndirectParts < 2 || cfg.IndirectParts > n ||
		len(cfg.IndirectMemory) < n*TableBytes(cfg.IndirectParts)) {
		return nil, fmt.Errorf("indirect tables of %d parts do not fit %d entries", cfg.IndirectParts, n)
	}
	common := Driver{
		size: uint16(n), base: cfg.Base, eventIdx: cfg.EventIdx, anyUsedLen: cfg.AnyUsedLen,
		indirect: cfg.IndirectMemory, indirectBase: cfg.IndirectBase, indirectParts: cfg.IndirectParts,
		next: make([]uint16, n), parts: make([]uint16, n), writable: make([]uint32, n), free: uint16(n),
		done: make([]Used, 0, n),
	}
	for i := range common.next {
		common.next[i] = uint16((i + 1) % n) // free counts
	}
	if cfg.InOrder {
		common.order = make([]uint16, n)
	}
	av, us := TableBytes(n), usedOffset(n)
	desc, driver, device := cfg.Memory[:av], cfg.Memory[av:us], cfg.Memory[us:]
	if cfg.Packed {
		return newPackedDriver(common, desc, driver, device)
	}
	return newSplitDriver(common, desc, driver, device)
}

// Addresses are the places of the three parts for the device.
func (q *Driver) Addresses() (desc, avail, used uint64) {
	n := int(q.size)
	return q.base, q.base + uint64(TableBytes(n)), q.base + uint64(usedOffset(n))
}

// Size is the number of entries.
func (q *Driver) Size() int { return int(q.size) }

// Free is the number of unused descriptors.
func (q *Driver) Free() int { return int(q.free) }

// Outstanding is the number of buffers that the device holds.
func (q *Driver) Outstanding() int { return int(q.inUse) }

// Err is the fault of the device that stopped the ring, or nil.
func (q *Driver) Err() error { return q.fault }

// NextHead is the head that the next Add will return; meaningless when the ring
// is full. It lets a caller fill a buffer that belongs to that descriptor first.
func (q *Driver) NextHead() uint16 { return q.freeHead }

// NextHeads is NextHead for an Add of several parts: the descriptors that it will use,
// in order, if it uses no indirect table. There must be that many Free.
func (q *Driver) NextHeads(heads []uint16) {
	next := q.freeHead
	for i := range heads {
		heads[i] = next
		next = q.next[next]
	}
}

// Add offers one buffer: parts that the device reads, then parts that it writes.
// It returns the head descriptor, by which Take will name the buffer, or ErrFull.
func (q *Driver) Add(read, write []Part) (head uint16, err error) {
	n := len(read) + len(write)
	if n == 0 || n > int(q.size) {
		return 0, fmt.Errorf("buffer of %d parts in a ring of %d entries", n, q.size)
	}
	if q.fault != nil {
		return 0, q.fault
	}
	if n > 1 && q.indirect != nil && n <= q.indirectParts {
		return q.addIndirect(read, write)
	}
	if n > int(q.free) {
		return 0, ErrFull
	}
	head = q.freeHead
	writable, next := q.format.add(head, read, write)
	q.hold(head, uint16(n), next, writable)
	return head, nil
}

// hold takes the first n names off the free list, up to before next, for the buffer
// that was added, and counts it.
func (q *Driver) hold(head, n, next uint16, writable uint32) {
	q.freeHead = next
	q.free -= n
	q.parts[head], q.writable[head] = n, writable
	q.nextAvail++
	q.inUse++
	if q.order != nil {
		q.order[q.newest] = head
		q.newest = (q.newest + 1) % q.size
	}
}

// part is the k-th descriptor of a buffer, without links.
func part(read, write []Part, k int) (d Desc, isWrite bool) {
	if k < len(read) {
		return Desc{Addr: read[k].Addr, Len: read[k].Len}, false
	}
	p := write[k-len(read)]
	return Desc{Addr: p.Addr, Len: p.Len, Flags: DescWrite}, true
}

// addIndirect fills the next head's indirect table and offers it.
func (q *Driver) addIndirect(read, write []Part) (head uint16, err error) {
	if q.free == 0 {
		return 0, ErrFull
	}
	head = q.freeHead
	n := len(read) + len(write)
	off := int(head) * TableBytes(q.indirectParts)
	table := q.indirect[off : off+TableBytes(n)]
	writable := q.format.addTable(head, table, q.indirectBase+uint64(off), read, write)
	q.hold(head, 1, q.next[head], writable)
	return head, nil
}

// Publish shows everything added to the device with one release store. It
// reports whether there was anything to show. A ring with a fault shows nothing.
func (q *Driver) Publish() bool {
	if q.nextAvail == q.published || q.fault != nil {
		return false
	}
	q.format.publish()
	q.published = q.nextAvail
	return true
}

// Unkicked reports whether anything was published since the last decision.
func (q *Driver) Unkicked() bool { return q.kickedAt != q.published }

// NeedKick decides, after Publish, whether the device wants a notification
// (2.7.10, 2.8.10).
func (q *Driver) NeedKick() bool {
	if q.fault != nil {
		return false
	}
	order.Fence() // what was published must be visible before the device's wish is read
	old := q.kickedAt
	q.kickedAt = q.published
	return q.format.needKick(old)
}

// DisableInterrupts asks the device not to interrupt us; it is a hint.
func (q *Driver) DisableInterrupts() {
	if q.fault == nil {
		q.format.setInterrupts(false)
	}
}

// EnableInterrupts asks the device to interrupt us at the next completion, and
// reports whether one is waiting already, in which case no one may sleep.
func (q *Driver) EnableInterrupts() (waiting bool) {
	if q.fault != nil {
		return false
	}
	q.format.setInterrupts(true)
	order.Fence() // our wish must be visible before the last look
	return q.Completed() > 0
}
