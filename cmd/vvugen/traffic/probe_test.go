package traffic

import (
	"testing"

	"vvufwd/cmd/vvugen/port"
)

// A probe that comes when the run has begun is neither a frame nor a fault of the run.
func TestLateProbe(t *testing.T) {
	way := stream{0, 0, 1}
	plan := Plan{Size: 64, Verify: true}
	s := newSink(new(port.Rx), way, &plan, true, newClock())
	frame := func(number uint64) *port.Frame {
		h := newHeader(way, plan.Size)
		(&h).seal(h.tag(), number, 0, 0)
		return &port.Frame{Len: plan.Size, Head: h[:]}
	}
	see := func(number, sent uint64) {
		s.received++ // as examineAll does
		s.bytes += uint64(plan.Size)
		s.examine(frame(number), 0, sent)
	}
	see(0, 1)
	see(probeNumber, 1)
	see(1, 2)
	if s.received != 2 || s.bytes != 128 || s.faults.Any() {
		t.Errorf("%d frames, %d bytes, faults %v", s.received, s.bytes, s.faults)
	}
	if see(probeNumber-1, 2); s.faults[Unsent].Count != 1 {
		t.Errorf("a number that was never sent: %v", s.faults)
	}
}
