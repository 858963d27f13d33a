package traffic

import (
	"encoding/binary"
	"hash/crc32"

	"vvufwd/cmd/internal/measure"
	"vvufwd/cmd/vvugen/port"
)

// batch is how many buffers are taken before they are given back.
const batch = 64

// sink takes the frames of one stream from a port. One goroutine owns it.
type sink struct {
	rx    *port.Rx
	clock clock
	plan  *Plan

	expect  header // with all variable fields zero
	single  bool   // every frame fits one buffer
	inspect bool

	received uint64
	bytes    uint64
	order    measure.Sequence
	faults   Faults
	latency  *measure.Histogram
	frame    port.Frame // scratch
}

// newSink expects the frames that newSource makes of the same arguments. single
// says that each of them fits one buffer.
func newSink(rx *port.Rx, way stream, plan *Plan, single bool, c clock) *sink {
	s := &sink{
		rx: rx, clock: c, plan: plan, expect: newHeader(way, plan.Size),
		single: single, inspect: plan.inspects(),
	}
	if plan.Latency {
		s.latency = new(measure.Histogram)
	}
	return s
}

// receive takes what has arrived, at most batch buffers' worth of frames, and
// returns how many frames. sent bounds the numbers that can be true.
func (s *sink) receive(sent uint64) int {
	waiting := s.rx.Look()
	if waiting == 0 {
		return 0
	}
	before := s.received
	if s.single && !s.inspect {
		frames, bytes := s.rx.Count(min(waiting, batch))
		s.received += frames
		s.bytes += bytes
	} else {
		s.examineAll(sent)
	}
	s.rx.Return()
	return int(s.received - before)
}

func (s *sink) examineAll(sent uint64) {
	var now int64
	if s.plan.Latency {
		now = s.clock.now()
	}
	for range batch {
		if !s.rx.Receive(&s.frame) {
			return
		}
		s.received++
		s.bytes += uint64(s.frame.Len)
		if s.inspect {
			s.examine(&s.frame, now, sent)
		}
	}
}

// examine judges one frame. Its headers are copied before they are looked at.
func (s *sink) examine(f *port.Frame, now int64, sent uint64) {
	if len(f.Head) < offPayload {
		s.faults.add(WrongLength, s.order.Next())
		return
	}
	h := *(*header)(f.Head)
	n := h.sequence()
	if s.plan.Latency {
		if stamp := h.stamp(); stamp > 0 && stamp <= now {
			s.latency.Add(now - stamp)
		}
	}
	if !s.plan.Verify {
		return
	}
	switch {
	case !s.ours(&h):
		s.faults.add(Foreign, s.order.Next())
		return
	case f.Len != s.plan.Size:
		s.faults.add(WrongLength, n)
	case s.plan.Checksum && !s.intact(&h, f):
		s.faults.add(Corrupt, s.order.Next())
		return // its number cannot be trusted
	}
	if n == probeNumber { // it was under way when the last one that was waited for came out
		s.received--
		s.bytes -= uint64(f.Len)
		return
	}
	if n >= sent {
		s.faults.add(Unsent, n)
		return
	}
	expected := s.order.Next()
	switch s.order.See(n) {
	case measure.AfterGap:
		if s.faults[Lost].First == 0 {
			s.faults[Lost].First = expected
		}
	case measure.Late:
		s.faults.add(Reordered, n)
	case measure.Duplicate:
		s.faults.add(Duplicated, n)
	}
}

// ours compares the headers word by word, the flow apart.
func (s *sink) ours(h *header) bool {
	const (
		flowMask  = ^uint64(0xffff << 16)            // bytes 34 and 35 of word 32
		checkMask = uint64(1)<<(8*(offCheck-40)) - 1 // bytes 40 to 43 of word 40
	)
	diff := h.word(0) ^ s.expect.word(0)
	diff |= h.word(8) ^ s.expect.word(8)
	diff |= h.word(16) ^ s.expect.word(16)
	diff |= h.word(24) ^ s.expect.word(24)
	diff |= (h.word(32) ^ s.expect.word(32)) & flowMask
	diff |= (h.word(40) ^ s.expect.word(40)) & checkMask
	return diff == 0 && uint(h.flow()) < flows
}

func (h *header) word(at int) uint64 { return binary.LittleEndian.Uint64(h[at:]) }

// intact checks number, stamp, length and payload.
func (s *sink) intact(h *header, f *port.Frame) bool {
	var sum uint32
	if payload := f.Head[offPayload:]; len(payload) > 0 {
		sum = crc32.Update(0, castagnoli, payload)
	}
	for i := range f.Parts {
		sum = crc32.Update(sum, castagnoli, f.More[i])
	}
	return check(h.sequence(), h.stamp(), f.Len, content(h.flow(), sum)) == h.check()
}
