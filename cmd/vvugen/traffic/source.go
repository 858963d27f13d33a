package traffic

import "vvufwd/cmd/vvugen/port"

// source writes the frames of one stream into a port. One goroutine owns it.
type source struct {
	tx      *port.Tx
	clock   clock
	header  header
	pattern *pattern
	plan    *Plan

	sent     uint64
	slotSums []uint32 // checksum of the payload that was put into each buffer
}

// newSource fills all of the port's buffers, so that writing headers suffices
// afterwards.
func newSource(tx *port.Tx, stream uint8, plan *Plan, pat *pattern, c clock) *source {
	s := &source{
		tx: tx, clock: c, header: newHeader(stream, plan.Size), pattern: pat, plan: plan,
		slotSums: make([]uint32, tx.Size()),
	}
	tx.Each(func(slot int, frame []byte) {
		copy(frame[offPayload:], pat.window(slot))
		s.slotSums[slot] = pat.sums[slot%phases]
	})
	return s
}

// send sends up to want frames and returns how many.
func (s *source) send(want int) int {
	n := s.tx.Room(want)
	if n <= 0 {
		return 0
	}
	var stamp int64
	if s.plan.Latency {
		stamp = s.clock.now()
	}
	if s.plan.Full {
		s.writeFull(n, stamp)
	} else {
		s.writeHeaders(n, stamp)
	}
	s.tx.Flush()
	return n
}

// writeHeaders writes the first 64 bytes of n frames: one cache line each.
func (s *source) writeHeaders(n int, stamp int64) {
	size := s.plan.Size
	for range n {
		slot, frame := s.tx.Next()
		h := (*header)(frame)
		*h = s.header
		h.seal(s.sent, stamp, size, s.slotSums[slot])
		s.sent++
	}
}

// writeFull writes every byte of n frames.
func (s *source) writeFull(n int, stamp int64) {
	size := s.plan.Size
	for range n {
		phase := int(s.sent % phases)
		_, frame := s.tx.Next()
		h := (*header)(frame)
		*h = s.header
		h.seal(s.sent, stamp, size, s.pattern.sums[phase])
		copy(frame[offPayload:], s.pattern.window(phase))
		s.sent++
	}
}
