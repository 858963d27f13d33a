package netfwd

import (
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// steering spreads frames over several queue pairs of a guest as the specification
// wants it (virtio 5.1.6.5.5): a flow's frames arrive where the guest has last sent
// some of that flow, which is where it will process them, and those of other flows
// anywhere, but each always at the same. It belongs to a lane.
type steering struct {
	queues []*member
	// flows has for each hash of a flow the queue pair plus one, 0 for none.
	flows [flowSlots]uint8
}

// flowSlots is as many flows as can be told apart. Those that cannot share a queue pair.
const flowSlots = 1 << flowBits

const flowBits = 12

// of is the queue pair for a frame of a flow.
func (s *steering) of(flow int) uint8 {
	if q := s.flows[flow]; q != 0 {
		return q - 1
	}
	return uint8(flow * len(s.queues) >> flowBits)
}

// learner notes that a guest sends flows through one of its queue pairs.
type learner struct {
	*steering
	queue int
}

func (l *learner) note(b *virtionet.Burst) {
	for i := range b.Len() {
		l.flows[flowOf(b, i)] = uint8(l.queue + 1)
	}
}

// steered is a burst of frames, sorted by the queue pairs that they go to.
type steered struct {
	*steering
	sorted virtionet.Burst
	ends   []int // for each queue pair, where its frames end
}

func newSteered(s *steering) *steered { return &steered{steering: s, ends: make([]int, len(s.queues))} }

// sort puts the frames of a batch that are not sent in the order of the queue pairs that
// they go to; those for one keep theirs. It returns the burst that has them, and its first
// one. If all go to one that can be the burst as it came in.
func (s *steered) sort(b *batch) (out *virtionet.Burst, first int) {
	var which, sorted order
	var to [virtionet.MaxBurst]uint8
	clear(s.ends)
	list := inOrder[:b.in.Len()]
	if b.sorted() || b.sent > 0 {
		list = which.of(b.unsent())
	}
	for k, i := range list {
		to[k] = s.of(flowOf(&b.in, int(i)))
		s.ends[to[k]]++
	}
	if alone := to[0]; s.ends[alone] == len(list) && !b.sorted() {
		for q := range s.ends {
			if s.ends[q] = 0; q >= int(alone) {
				s.ends[q] = b.in.Len()
			}
		}
		return &b.in, b.sent
	}
	start := 0
	for q, n := range s.ends {
		s.ends[q], start = start, start+n
	}
	for k, i := range list {
		q := to[k]
		sorted[s.ends[q]] = i
		s.ends[q]++
	}
	s.sorted.Pick(&b.in, sorted[:len(list)])
	return &s.sorted, 0
}

// run is the queue pair to which frame i of the sorted burst goes, and where the frames
// for it end.
func (s *steered) run(i int) (q *member, end int) {
	for k, end := range s.ends {
		if i < end {
			return s.queues[k], end
		}
	}
	panic("there is no such frame in the burst")
}

// order is frames of a burst, by their index.
type order [virtionet.MaxBurst]uint8

// inOrder is all of them, as they came.
var inOrder = func() (o order) {
	for i := range o {
		o[i] = uint8(i)
	}
	return o
}()

// of lists a set of frames in the order in which they came.
func (o *order) of(set uint64) []uint8 {
	n := 0
	for ; set != 0; set &= set - 1 {
		o[n] = uint8(bits.TrailingZeros64(set))
		n++
	}
	return o[:n]
}

// flowOf is a hash of a frame's flow, below flowSlots. What a guest puts there only moves its
// own frames between queue pairs.
func flowOf(b *virtionet.Burst, i int) int { return flowHash(b.Flow(i)) }

// flowHash multiplies by the golden ratio, after the high bits had their say in the low ones.
func flowHash(flow uint64) int {
	flow ^= flow >> 32
	return int(flow * goldenRatio >> (64 - flowBits))
}
