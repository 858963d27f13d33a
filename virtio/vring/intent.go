package vring

// A frame that goes from one guest's transmit ring to another guest's receive ring is
// published there and completed here: two stores, in the memory of two guests. A process
// that is killed in between has sent the frame and leaves it in the transmit ring, where
// the next one finds it and would send it again. So it says beforehand, in the tracking
// memory of the transmit ring, what it is about to do; with that, and with how far the
// receive ring is, the next one can tell whether it was done.

// Intent is what a process that was killed was about to do with the oldest chains of a
// ring.
type Intent struct {
	Peer   uint64 // token of the ring that the frames went to; 0: there was no intent
	Before uint16 // where that one was before they were published
	Count  int    // chains
}

// Tracked reports whether the ring is tracked.
func (q *Device) Tracked() bool { return q.track != nil }

// Untrack ends the record, for a ring that has failed: its memory may be gone.
func (q *Device) Untrack() { q.track = nil }

// Token names a tracked ring.
func (q *Device) Token() uint64 { return q.track.Token() }

// Resumed reports whether the ring is tracked and was so by someone before us, and what
// was intended then.
func (q *Device) Resumed() (Intent, bool) { return q.intent, q.resumed }

// Began is where the ring was when it was made, in terms of Stand.
func (q *Device) Began() uint16 { return q.began }

// Stand is where the next completion goes: the used index, or in a packed ring the slot with
// its wrap counter.
func (q *Device) Stand() uint16 {
	_, used := q.format.position()
	return used
}

// Intend records, in a tracked ring, that frames of its oldest n chains are about to be
// published in another tracked ring. They are to be completed next: it holds until they are.
func (q *Device) Intend(n int, peer *Device) {
	j := q.track.journal()
	store64At(j, journalValid, 0)
	store64At(j, journalPeer, peer.Token())
	store32At(j, journalBefore, uint32(peer.Stand()))
	store32At(j, journalCount, uint32(n))
	store64At(j, journalValid, intentValid|uint64(q.Stand()))
	q.track.intended, q.track.recorded = true, true
}

// conclude takes note that chains were completed. An intent that was for them is void now,
// for the ring is at another place. So it is overwritten by the next one, and only if others
// are completed without one it has to be taken back: laps later the ring is at the same
// place again.
func (t *Tracker) conclude() {
	if t.recorded && !t.intended {
		store64At(t.journal(), journalValid, 0)
		t.recorded = false
	}
	t.intended = false
}

// resume takes over what was recorded of a ring that has just been made. An intent stays on
// record until the chains are completed: before someone can tell what became of it the ring
// may start again, or this process be killed too.
func (q *Device) resume(t *Tracker, resumed bool) {
	q.track, q.resumed, q.began = t, resumed, q.Stand()
	j := t.journal()
	if count := load32At(j, journalCount); resumed && load64At(j, journalValid) == intentValid|uint64(q.began) && count <= uint32(q.size) {
		q.intent = Intent{Peer: load64At(j, journalPeer), Before: uint16(load32At(j, journalBefore)), Count: int(count)}
	}
	t.recorded = true
	t.begin(q.format.record(t), q.began)
}
