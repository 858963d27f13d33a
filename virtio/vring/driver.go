package vring

import (
	"errors"
	"fmt"
)

// DriverConfig describes a ring that we own and a device serves.
type DriverConfig struct {
	Size     int    // entries, a power of two
	Memory   []byte // at least DriverBytes(Size), zeroed, 16-aligned, reachable by the device
	Base     uint64 // address of Memory[0] for the device (IOVA)
	EventIdx bool   // VIRTIO_F_EVENT_IDX was negotiated

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
	Head uint16 // as returned by Add
	Len  uint32 // bytes the device wrote into the buffer's writable parts
}

// ErrFull reports that the ring lacks descriptors for a buffer.
var ErrFull = errors.New("ring is full")

// Driver is the driver side of a split ring. One goroutine owns it.
//
// Add offers buffers, Publish shows them to the device and NeedKick says whether
// it wants to be told. Completed looks for finished buffers and Take hands them
// out; the descriptors of a taken buffer are free again.
type Driver struct {
	desc  table
	avail avail
	used  used
	size  uint16
	base  uint64

	eventIdx bool

	indirect      []byte
	indirectBase  uint64
	indirectParts int

	// Private bookkeeping: the device can write none of it.
	next     []uint16 // free list, and the links of outstanding chains
	parts    []uint16 // descriptors held by the chain that starts here, 0 if none does
	writable []uint32 // bytes the device may write into that chain
	freeHead uint16
	free     uint16
	inUse    uint16 // outstanding buffers

	nextAvail uint16 // where the next head goes
	published uint16 // avail.idx as the device sees it
	kickedAt  uint16 // avail.idx at the last decision on a kick
	nextUsed  uint16 // next used element to take
	seenUsed  uint16 // used.idx as of the last Completed
	fault     error
}

const (
	tableAlign = 16
	usedAlign  = 4
)

func usedOffset(n int) int { return (TableBytes(n) + AvailBytes(n) + usedAlign - 1) &^ (usedAlign - 1) }

// DriverBytes is the memory that a Driver with n entries needs: table, avail
// ring and used ring one after the other.
func DriverBytes(n int) int {
	return (usedOffset(n) + UsedBytes(n) + tableAlign - 1) &^ (tableAlign - 1)
}

// NewDriver lays a ring out in cfg.Memory. The device must not look at it yet.
func NewDriver(cfg DriverConfig) (*Driver, error) {
	n := cfg.Size
	if err := checkSize(n); err != nil {
		return nil, fmt.Errorf("%d entries: %w", n, err)
	}
	if len(cfg.Memory) < DriverBytes(n) {
		return nil, fmt.Errorf("ring of %d entries needs %d bytes, got %d", n, DriverBytes(n), len(cfg.Memory))
	}
	if cfg.IndirectMemory != nil && (cfg.IndirectParts < 2 || cfg.IndirectParts > n ||
		len(cfg.IndirectMemory) < n*TableBytes(cfg.IndirectParts)) {
		return nil, fmt.Errorf("indirect tables of %d parts do not fit %d entries", cfg.IndirectParts, n)
	}
	q := &Driver{
		size: uint16(n), base: cfg.Base, eventIdx: cfg.EventIdx,
		indirect: cfg.IndirectMemory, indirectBase: cfg.IndirectBase, indirectParts: cfg.IndirectParts,
		next: make([]uint16, n), parts: make([]uint16, n), writable: make([]uint32, n), free: uint16(n),
	}
	av, us := TableBytes(n), usedOffset(n)
	var err error
	q.desc, q.avail, q.used, err = rings(n, cfg.Memory[:av], cfg.Memory[av:us], cfg.Memory[us:])
	if err != nil {
		return nil, err
	}
	for i := range q.next {
		q.next[i] = uint16(i + 1) // the last link is never followed: free counts
	}
	return q, nil
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
	var writable uint32
	i, last := head, head
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = q.next[i]
		}
		q.desc.set(i, d)
		last, i = i, q.next[i]
	}
	q.freeHead = q.next[last]
	q.free -= uint16(n)
	q.post(head, uint16(n), writable)
	return head, nil
}

// part is the k-th descriptor of a buffer, without links.
func part(read, write []Part, k int) (d Desc, isWrite bool) {
	if k < len(read) {
		return Desc{Addr: read[k].Addr, Len: read[k].Len}, false
	}
	p := write[k-len(read)]
	return Desc{Addr: p.Addr, Len: p.Len, Flags: DescWrite}, true
}

func (q *Driver) addIndirect(read, write []Part) (head uint16, err error) {
	if q.free == 0 {
		return 0, ErrFull
	}
	head = q.freeHead
	n := len(read) + len(write)
	off := int(head) * TableBytes(q.indirectParts)
	t := tableOf(q.indirect[off : off+TableBytes(n)])
	var writable uint32
	for k := range n {
		d, isWrite := part(read, write, k)
		if isWrite {
			writable += d.Len
		}
		if k < n-1 {
			d.Flags |= DescNext
			d.Next = uint16(k + 1)
		}
		t.set(uint16(k), d)
	}
	q.desc.set(head, Desc{Addr: q.indirectBase + uint64(off), Len: uint32(TableBytes(n)), Flags: DescIndirect})
	q.freeHead = q.next[head]
	q.free--
	q.post(head, 1, writable)
	return head, nil
}

func (q *Driver) post(head, parts uint16, writable uint32) {
	q.parts[head], q.writable[head] = parts, writable
	*q.avail.entry(q.nextAvail) = head
	q.nextAvail++
	q.inUse++
}

// Publish shows everything added to the device with one release store. It
// reports whether there was anything to show. A ring with a fault shows nothing.
func (q *Driver) Publish() bool {
	if q.nextAvail == q.published || q.fault != nil {
		return false
	}
	storeRelease16(q.avail.idx(), q.nextAvail)
	q.published = q.nextAvail
	return true
}

// Unkicked reports whether anything was published since the last decision.
func (q *Driver) Unkicked() bool { return q.kickedAt != q.published }

// NeedKick decides, after Publish, whether the device wants a notification
// (2.7.10).
func (q *Driver) NeedKick() bool {
	if q.fault != nil {
		return false
	}
	fullFence() // avail.idx must be visible before the device's wish is read
	old := q.kickedAt
	q.kickedAt = q.published
	if !q.eventIdx {
		return load16(q.used.flags())&usedNoNotify == 0
	}
	return crosses(load16(q.used.availEvent()), q.published, old)
}

// Completed looks once at used.idx (acquire) and returns how many buffers can be
// taken. An impossible index faults the ring.
func (q *Driver) Completed() int {
	if q.fault != nil {
		return 0
	}
	idx := load16(q.used.idx())
	done := idx - q.nextUsed
	if done > q.inUse {
		q.fault = FaultUsedIndex
		return 0
	}
	q.seenUsed = idx
	return int(done)
}

// Take hands out the next buffer that the last Completed saw, or false. The
// device's answer is checked: the head is outstanding and Len fits the buffer.
func (q *Driver) Take(u *Used) bool {
	if q.fault != nil || q.seenUsed == q.nextUsed {
		return false
	}
	id, n := q.used.get(q.nextUsed)
	if id >= uint32(q.size) || q.parts[id] == 0 {
		q.fault = FaultUsedID
		return false
	}
	head := uint16(id)
	switch w := q.writable[head]; {
	case w == 0:
		n = 0 // some devices report what they read, against 2.7.8.2
	case n > w:
		q.fault = FaultUsedLen
		return false
	}
	q.nextUsed++
	q.release(head)
	u.Head, u.Len = head, n
	return true
}

// release puts the descriptors of a chain back on the free list.
func (q *Driver) release(head uint16) {
	last := head
	for range q.parts[head] - 1 {
		last = q.next[last]
	}
	q.next[last] = q.freeHead
	q.freeHead = head
	q.free += q.parts[head]
	q.parts[head] = 0
	q.inUse--
}

// DisableInterrupts asks the device not to interrupt us; it is a hint.
func (q *Driver) DisableInterrupts() {
	if !q.eventIdx && q.fault == nil {
		storeRelease16(q.avail.flags(), availNoInterrupt)
	}
}

// EnableInterrupts asks the device to interrupt us at the next completion, and
// reports whether one is waiting already, in which case nobody may sleep.
func (q *Driver) EnableInterrupts() (waiting bool) {
	if q.fault != nil {
		return false
	}
	if q.eventIdx {
		storeRelease16(q.avail.usedEvent(), q.nextUsed)
	} else {
		storeRelease16(q.avail.flags(), 0)
	}
	fullFence() // our wish must be visible before the last look
	return q.Completed() > 0
}
