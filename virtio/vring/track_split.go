package vring

// splitTrack is the record of a split ring.
type splitTrack struct {
	*Tracker
	q *splitDevice
}

// Layout of its header, and size of it and of an entry.
const (
	trackLastBatch = 12 // u16
	trackUsed      = 14 // u16
	trackSplitHead = 16

	trackNext = 6 // u16, of an entry: the one before in the last batch
)

func (t *splitTrack) begin(used uint16) { store16At(t.b, trackUsed, used) }

func (t *splitTrack) take(uint16) {}
func (t *splitTrack) give(uint16) {}

func (t *splitTrack) entry(head uint16) []byte { return t.b[trackSplitHead*(1+int(head)):] }

func (t *splitTrack) prepare(pushed []completion) {
	for _, p := range pushed {
		store16At(t.entry(p.head), trackNext, load16At(t.b, trackLastBatch))
		store16At(t.b, trackLastBatch, p.head)
	}
}

func (t *splitTrack) finish() { store16At(t.b, trackUsed, t.q.nextUsed) }
