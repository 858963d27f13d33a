package vring

// Tracker records which chains of a ring are in our hands, in memory that outlives this
// process: a front-end keeps it and hands it to the next back-end (vhost-user, "Inflight I/O
// tracking", whose two layouts these are). Behind that lies a journal of our own, see Intent.
//
// The memory is shared with the front-end. What is needed while the ring runs is kept
// here besides; what is read back at a start is checked.
//
// It belongs to whoever has the ring.
type Tracker struct {
	b      []byte // this ring's part, TrackBytes long
	size   uint16
	packed bool

	counter uint64
	taken   []uint16 // heads in our hands, oldest first: a ring of size places
	first   uint16   // of taken
	n       uint16

	intended bool // what is given back next was intended, see Device.Intend
	recorded bool // there is an intent on record, perhaps

	// Of a packed ring: its entries are handed out from a list of free ones.
	free  uint16
	next  []uint16
	entry []uint16 // of the chain that begins in a slot: its first
	last  []uint16 // and last
}

// Layout of the header and of an entry of both kinds.
const (
	trackVersion = 8  // u16: 1
	trackNum     = 10 // u16: number of entries

	trackLastBatch = 12 // u16, split
	trackUsed      = 14 // u16, split
	trackSplitHead = 16 // bytes of the header, and of an entry

	trackFree       = 12 // u16, packed
	trackOldFree    = 14
	trackUsedAt     = 16
	trackOldUsedAt  = 18
	trackWrap       = 20 // u8
	trackOldWrap    = 21
	trackPackedHead = 32 // bytes of the header, and of an entry

	trackInflight = 0 // u8, of an entry
	trackAlign    = 64
)

// The journal lies at the end.
const (
	journalBytes  = 64
	journalToken  = 0  // u64: names this ring
	journalValid  = 8  // u64: 0, or intentValid and where the ring stood
	journalPeer   = 16 // u64: token of the ring that the frames go to
	journalBefore = 24 // u32: where that one stood
	journalCount  = 28 // u32: chains

	intentValid = 1 << 63
)

// TrackBytes is how much memory a ring of size entries takes.
func TrackBytes(size int, packed bool) int {
	n := trackSplitHead * (1 + size)
	if packed {
		n = trackPackedHead * (1 + size)
	}
	return (n+trackAlign-1)&^(trackAlign-1) + journalBytes
}

// NewTracker returns the tracker of a ring of size entries. b, of TrackBytes, is zero if
// nobody had it before; token is the name that the ring gets then, not 0. resumed reports
// whether a back-end had it: it went with chains in its hands, perhaps.
func NewTracker(b []byte, size int, packed bool, token uint64) (t *Tracker, resumed bool) {
	t = &Tracker{b: b[:TrackBytes(size, packed)], size: uint16(size), packed: packed, taken: make([]uint16, size)}
	resumed = load16At(t.b, trackVersion) == 1 && load16At(t.b, trackNum) == t.size && t.Token() != 0
	if !resumed {
		clear(t.b)
		store64At(t.journal(), journalToken, token)
		store16At(t.b, trackNum, t.size)
		store16At(t.b, trackVersion, 1)
	}
	return t, resumed
}

func (t *Tracker) journal() []byte { return t.b[len(t.b)-journalBytes:] }

// Token names the ring, across back-ends.
func (t *Tracker) Token() uint64 { return load64At(t.journal(), journalToken) }

// PackedBase is where a packed ring stood that was tracked until its back-end went, as
// DeviceConfig.NextAvail is, or false if that cannot be said. desc is its descriptor ring.
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
	return was.word(), true
}

// begin makes the record that of a ring that stands at a place with nothing in our hands.
// What was in somebody's will be taken again.
func (t *Tracker) begin(used uint16) {
	head := trackSplitHead
	if t.packed {
		head = trackPackedHead
		t.next, t.entry, t.last = make([]uint16, t.size), make([]uint16, t.size), make([]uint16, t.size)
		for i := range t.size {
			t.next[i] = (i + 1) % t.size
			store16At(t.b, head*(1+int(i))+2, t.next[i])
		}
		t.free = 0
		t.setFree()
		c := cursorAt(used)
		t.setUsed(c)
		t.settle(c)
	} else {
		store16At(t.b, trackUsed, used)
	}
	for i := range int(t.size) {
		t.b[head*(1+i)+trackInflight] = 0
	}
	t.first, t.n = 0, 0
}

// take notes that a chain came into our hands, and give that the last n went back
// to where they came from.
func (t *Tracker) take(q *Device, head uint16) {
	t.taken[(int(t.first)+int(t.n))%int(t.size)] = head
	t.n++
	t.counter++
	e := t.b[trackSplitHead*(1+int(head)):]
	if t.packed {
		e = t.takePacked(q, head)
	}
	store64At(e, 8, t.counter)
	storeByteAt(e, trackInflight, 1)
}

func (t *Tracker) give(n int) {
	for range n {
		t.n--
		head := t.taken[(int(t.first)+int(t.n))%int(t.size)]
		if t.packed {
			t.release(head)
			store16At(t.b, trackFree, t.free)
			store16At(t.b, trackOldFree, t.free)
		}
		t.done(head)
	}
}

// done marks that a chain is not in our hands.
func (t *Tracker) done(head uint16) {
	at := trackSplitHead * (1 + int(head))
	if t.packed {
		at = trackPackedHead * (1 + int(t.entry[head]))
	}
	storeByteAt(t.b, at+trackInflight, 0)
}

// prepare is called before chains are given back, finish after it. What a back-end that
// dies in between had in hand can be told by whoever comes next.
func (t *Tracker) prepare(q *Device, pushed []completion) {
	if t.packed {
		c := q.packed.used
		for _, p := range pushed {
			t.release(p.head)
			c.advance(q.packed.slots[p.head].count, q.size)
		}
		store16At(t.b, trackFree, t.free)
		t.setUsed(c)
		return
	}
	for _, p := range pushed {
		store16At(t.b, trackSplitHead*(1+int(p.head))+6, load16At(t.b, trackLastBatch))
		store16At(t.b, trackLastBatch, p.head)
	}
}

func (t *Tracker) finish(q *Device, pushed []completion) {
	t.conclude()
	for _, p := range pushed {
		t.done(p.head)
	}
	n := uint16(len(pushed))
	t.first, t.n = uint16((int(t.first)+int(n))%int(t.size)), t.n-n
	if t.packed {
		t.settle(q.packed.used)
		return
	}
	store16At(t.b, trackUsed, q.nextUsed)
}

// takePacked notes the descriptors of the chain that begins in a slot, and returns the
// entry of the first.
func (t *Tracker) takePacked(q *Device, slot uint16) []byte {
	first := t.free
	at := cursor{at: slot}
	count := q.packed.slots[slot].count
	entry := first
	for range count {
		entry = t.free
		d, id := q.packed.ring.get(at.at)
		e := t.b[trackPackedHead*(1+int(entry)):]
		store16At(e, 16, id)
		store16At(e, 18, d.Flags)
		store32At(e, 20, d.Len)
		store64At(e, 24, d.Addr)
		t.free = t.next[entry]
		at.advance(1, t.size)
	}
	e := t.b[trackPackedHead*(1+int(first)):]
	store16At(e, 4, entry)
	store16At(e, 6, count)
	t.entry[slot], t.last[slot] = first, entry
	t.setFree()
	return e
}

// release puts a chain's entries back to the free ones.
func (t *Tracker) release(slot uint16) {
	t.next[t.last[slot]] = t.free
	store16At(t.b, trackPackedHead*(1+int(t.last[slot]))+2, t.free)
	t.free = t.entry[slot]
}

func (t *Tracker) setFree() {
	store16At(t.b, trackFree, t.free)
	store16At(t.b, trackOldFree, t.free)
}

func (t *Tracker) setUsed(c cursor) {
	store16At(t.b, trackUsedAt, c.at)
	storeByteAt(t.b, trackWrap, byte(c.wrap))
}

// settle makes what was prepared what is.
func (t *Tracker) settle(c cursor) {
	store16At(t.b, trackOldFree, t.free)
	store16At(t.b, trackOldUsedAt, c.at)
	storeByteAt(t.b, trackOldWrap, byte(c.wrap))
}
