package vring

import (
	"cmp"
	"slices"
)

// packedTrack is the record of a packed ring, with a copy of each descriptor that is in our
// hands. Its entries are handed out from a list of free ones.
type packedTrack struct {
	*Tracker
	q *packedDevice

	free  uint16
	next  []uint16
	first []uint16 // entry of a chain: its first
	last  []uint16 // and last
}

// Layout of its header, and size of it and of an entry.
const (
	trackFree       = 12 // u16
	trackOldFree    = 14
	trackUsedAt     = 16
	trackOldUsedAt  = 18
	trackWrap       = 20 // u8
	trackOldWrap    = 21
	trackPackedHead = 32

	trackNextFree = 2 // u16, of an entry, as all that follow
	trackLast     = 4
	trackCount    = 6
	trackID       = 16
	trackFlags    = 18
	trackLen      = 20 // u32
	trackAddr     = 24 // u64
)

// PackedBase is where a packed ring was that was tracked until its back-end went, as
// DeviceConfig.NextAvail is, or false if that cannot be said. desc is its descriptor ring: what
// the back-end had begun to give back, and not shown to the driver yet, is made available in it again.
func (t *Tracker) PackedBase(desc []byte) (uint16, bool) {
	ring, err := packedSlots(int(t.size), desc)
	is := cursor{load16At(t.b, trackUsedAt), uint16(loadByteAt(t.b, trackWrap))}
	was := cursor{load16At(t.b, trackOldUsedAt), uint16(loadByteAt(t.b, trackOldWrap))}
	if err != nil || is.at >= t.size || was.at >= t.size || is.wrap > 1 || was.wrap > 1 {
		return 0, false
	}
	if !was.isAvail(uint16(ring.state(was.at) >> 16)) {
		return is.word(), true // what was being given back is given back
	}
	if is != was {
		t.restore(ring, was)
	}
	return was.word(), true
}

// restore undoes what a back-end that was killed while it gave chains back has stored in their
// descriptors, from at on: the length of the first, which the driver could not see as used
// yet, and length, id and flags of the first ones of others. Chains are given back as they were
// taken, so the record tells the slots of each, and what was there; of those that were not touched it
// says what is there. Addresses stay in used descriptors: one that is another shows that the
// record is of something else, which its owner is free to make up.
func (t *Tracker) restore(ring packed, at cursor) {
	left := t.size
	for _, first := range t.inHand() {
		last, i := load16At(t.entryAt(first), trackLast), first
		for left > 0 && i < t.size {
			left--
			e := t.entryAt(i)
			if load64At(e, trackAddr) != ring.addr(at.at) {
				return
			}
			flags := load16At(e, trackFlags)&^(DescAvail|DescUsed) | at.availFlags()
			ring.setUsed(at.at, load32At(e, trackLen), stateOf(load16At(e, trackID), flags))
			at.advance(1, t.size)
			if i == last {
				break
			}
			i = load16At(e, trackNextFree)
		}
	}
}

// inHand are the chains on record, by their first entries, as they were taken.
func (t *Tracker) inHand() (first []uint16) {
	for i := range t.size {
		if loadByteAt(t.entryAt(i), trackInflight) != 0 {
			first = append(first, i)
		}
	}
	slices.SortFunc(first, func(a, b uint16) int {
		return cmp.Compare(load64At(t.entryAt(a), trackCounter), load64At(t.entryAt(b), trackCounter))
	})
	return first
}

// entryAt is entry i of the record of a packed ring.
func (t *Tracker) entryAt(i uint16) []byte { return t.b[trackPackedHead*(1+int(i)):] }

func newPackedTrack(t *Tracker, q *packedDevice) *packedTrack {
	return &packedTrack{
		Tracker: t, q: q,
		next: make([]uint16, t.size), first: make([]uint16, t.size), last: make([]uint16, t.size),
	}
}

func (t *packedTrack) begin(used uint16) {
	for i := range t.size {
		t.link(i, (i+1)%t.size)
		t.first[i] = i
	}
	t.free = 0
	t.setFree()
	c := cursorAt(used)
	t.setUsed(c)
	t.settle(c)
}

// link makes the entry after i in the list of free ones next.
func (t *packedTrack) link(i, next uint16) {
	t.next[i] = next
	store16At(t.entryAt(i), trackNextFree, next)
}

func (t *packedTrack) entry(head uint16) []byte { return t.entryAt(t.first[head]) }

// take notes the descriptors of the chain that was popped: where it began is on record in
// the ring's notes.
func (t *packedTrack) take(head uint16) {
	q, first := t.q, t.free
	at, count := cursor{at: q.held[head].slot}, q.held[head].count
	last := first
	for range count {
		last = t.free
		s, e := &q.slots[at.at], t.entryAt(last)
		d, id := packedDesc(s.addr, s.rest)
		store16At(e, trackID, id)
		store16At(e, trackFlags, d.Flags)
		store32At(e, trackLen, d.Len)
		store64At(e, trackAddr, d.Addr)
		t.free = t.next[last]
		at.advance(1, t.size)
	}
	store16At(t.entryAt(first), trackLast, last)
	store16At(t.entryAt(first), trackCount, count)
	t.first[head], t.last[head] = first, last
	t.setFree()
}

func (t *packedTrack) give(head uint16) {
	t.release(head)
	t.setFree()
}

func (t *packedTrack) prepare(pushed []completion) {
	c := t.q.used
	for _, p := range pushed {
		t.release(p.head)
		c.advance(t.q.held[p.head].count, t.size)
	}
	store16At(t.b, trackFree, t.free)
	t.setUsed(c)
}

func (t *packedTrack) finish() { t.settle(t.q.used) }

// release puts a chain's entries back to the free ones.
func (t *packedTrack) release(head uint16) {
	t.link(t.last[head], t.free)
	t.free = t.first[head]
}

func (t *packedTrack) setFree() {
	store16At(t.b, trackFree, t.free)
	store16At(t.b, trackOldFree, t.free)
}

func (t *packedTrack) setUsed(c cursor) {
	store16At(t.b, trackUsedAt, c.at)
	storeByteAt(t.b, trackWrap, byte(c.wrap))
}

// settle makes what was prepared what is.
func (t *packedTrack) settle(c cursor) {
	store16At(t.b, trackOldFree, t.free)
	store16At(t.b, trackOldUsedAt, c.at)
	storeByteAt(t.b, trackOldWrap, byte(c.wrap))
}
