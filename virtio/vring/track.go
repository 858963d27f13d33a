package vring

// Tracker records which chains of a ring are in our hands, in memory that outlives this
// process: a front-end keeps it and hands it to the next back-end (vhost-user, "Inflight I/O
// tracking", whose two layouts these are). After that lies a journal of our own, see Intent.
//
// The memory is shared with the front-end. What is needed while the ring runs is kept
// here besides; what is read back at a start is checked.
//
// It belongs to whoever has the ring.
type Tracker struct {
	b    []byte // this ring's part, TrackBytes long
	size uint16

	counter uint64
	taken   []uint16 // heads in our hands, oldest first: a ring of size places
	first   uint16   // of taken
	n       uint16

	intended bool // what is given back next was intended, see Device.Intend
	recorded bool // there is an intent on record, perhaps

	format trackFormat // since the ring was made
}

// trackFormat is what the record of a split and of a packed ring do differently. Heads are
// those of chains.
type trackFormat interface {
	begin(used uint16)           // with nothing in our hands
	take(head uint16)            // notes what is to be known of a chain that came into our hands
	give(head uint16)            // and that the one taken last went back to where it came from
	entry(head uint16) []byte    // of a chain in our hands
	prepare(pushed []completion) // before chains are given back
	finish()                     // after that
}

// Layout of what the headers and entries of both formats have in common.
const (
	trackVersion = 8  // u16: 1
	trackNum     = 10 // u16: number of entries

	trackInflight = 0 // u8, of an entry
	trackCounter  = 8 // u64, of an entry
	trackAlign    = 64
)

// The journal lies at the end.
const (
	journalBytes  = 64
	journalToken  = 0  // u64: names this ring
	journalValid  = 8  // u64: 0, or intentValid and where the ring was
	journalPeer   = 16 // u64: token of the ring that the frames go to
	journalBefore = 24 // u32: where that one was
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
// no one had it before; token is the name that the ring gets then, not 0. resumed reports
// whether a back-end had it: it went with chains in its hands, perhaps.
func NewTracker(b []byte, size int, packed bool, token uint64) (t *Tracker, resumed bool) {
	t = &Tracker{b: b[:TrackBytes(size, packed)], size: uint16(size), taken: make([]uint16, size)}
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

// begin makes the record that of a ring of this format, with nothing in our hands. What
// was in someone's will be taken again.
func (t *Tracker) begin(format trackFormat, used uint16) {
	t.format, t.first, t.n = format, 0, 0
	format.begin(used)
	for i := range t.size {
		storeByteAt(format.entry(i), trackInflight, 0)
	}
}

// take notes that a chain came into our hands, and give that the last n went back
// to where they came from.
func (t *Tracker) take(head uint16) {
	t.taken[(int(t.first)+int(t.n))%int(t.size)] = head
	t.n++
	t.counter++
	t.format.take(head)
	e := t.format.entry(head)
	store64At(e, trackCounter, t.counter)
	storeByteAt(e, trackInflight, 1)
}

func (t *Tracker) give(n int) {
	for range n {
		t.n--
		head := t.taken[(int(t.first)+int(t.n))%int(t.size)]
		t.format.give(head)
		storeByteAt(t.format.entry(head), trackInflight, 0)
	}
}

// prepare is called before chains are given back, finish after it. What a back-end that
// dies in between had in hand can be told by whoever comes next.
func (t *Tracker) prepare(pushed []completion) { t.format.prepare(pushed) }

func (t *Tracker) finish(pushed []completion) {
	t.conclude()
	for _, p := range pushed {
		storeByteAt(t.format.entry(p.head), trackInflight, 0)
	}
	n := uint16(len(pushed))
	t.first, t.n = uint16((int(t.first)+int(n))%int(t.size)), t.n-n
	t.format.finish()
}
