package traffic

import "vvufwd/cmd/vvugen/port"

// source writes the frames of one stream into a port. One goroutine owns it.
type source struct {
	tx      *port.Tx
	clock   clock
	header  header
	pattern *pattern
	plan    *Plan

	sent  uint64
	slots []slotContent // what was put into each buffer
	tag   uint64
}

// slotContent is what goes into the check of a buffer's frames.
type slotContent struct {
	flow int
	mix  uint32 // content of the flow and the payload that the buffer was filled with
}

// newSource fills all of the port's buffers, so that writing the variable fields
// suffices afterwards. Each buffer belongs to a flow.
func newSource(tx *port.Tx, way stream, plan *Plan, pat *pattern, c clock) *source {
	s := &source{
		tx: tx, clock: c, header: newHeader(way, plan.Size), pattern: pat, plan: plan,
		slots: make([]slotContent, tx.Size()),
	}
	s.tag = s.header.tag()
	tx.Each(func(slot int, frame []byte) {
		s.header.setFlow(slot)
		copy(frame, s.header[:])
		copy(frame[offPayload:], pat.window(slot))
		flow := s.header.flow()
		s.slots[slot] = slotContent{flow, content(flow, pat.sums[slot%phases])}
	})
	return s
}

// send sends want frames, or none if there is no room for all of them: a ring
// that is nearly full would have both sides trade frames one by one, and cache
// lines with them. It returns how many.
func (s *source) send(want int) int {
	n := s.tx.Room(want)
	if n < want {
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

// writeHeaders dirties the first 64 bytes of n frames: one cache line each.
func (s *source) writeHeaders(n int, stamp int64) {
	sequence, size := s.sent, s.plan.Size
	for range n {
		slot, frame := s.tx.Next()
		(*header)(frame).seal(s.tag, sequence, stamp, check(sequence, stamp, size, s.slots[slot].mix))
		sequence++
	}
	s.sent = sequence
}

// writeFull writes every byte of n frames.
func (s *source) writeFull(n int, stamp int64) {
	sequence, size := s.sent, s.plan.Size
	for range n {
		phase := int(sequence % phases)
		slot, frame := s.tx.Next()
		flow := s.slots[slot].flow
		h := (*header)(frame)
		*h = s.header
		h.setFlow(flow)
		h.seal(s.tag, sequence, stamp, check(sequence, stamp, size, content(flow, s.pattern.sums[phase])))
		copy(frame[offPayload:], s.pattern.window(phase))
		sequence++
	}
	s.sent = sequence
}
