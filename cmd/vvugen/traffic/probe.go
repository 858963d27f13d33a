package traffic

import (
	"fmt"
	"time"

	"vvufwd/cmd/vvugen/port"
)

// Back-ends start to forward some time after the handshake: their link state
// travels through other threads. Probes find out when, so that neither is loss
// reported that is none, nor is waiting measured.
const (
	probeEvery  = 5 * time.Millisecond
	probesOut   = 3                     // that must come out: a back-end may change its mind after the first
	probeQuiet  = 20 * time.Millisecond // after the last probe has come out
	probeNumber = 1 << 63               // marks a frame as a probe
)

// settle sends a probe now and then until some have come out of each direction
// and no more are under way, or until ctx's stop. Probes do not count.
func (r *Runner) settle() error {
	deadline := time.Now().Add(r.plan.Stall)
	quiet := time.Now()
	for !r.stop.Load() {
		ready := true
		for _, d := range r.dirs {
			moved, err := d.probe()
			if err != nil {
				return err
			}
			if moved {
				quiet = time.Now()
			}
			ready = ready && d.open()
		}
		if ready && time.Since(quiet) > probeQuiet {
			break
		}
		if !ready && time.Now().After(deadline) {
			return r.unsettled()
		}
		time.Sleep(probeEvery)
	}
	for _, d := range r.dirs {
		if d.source != nil {
			d.takenBefore = d.source.tx.Completed()
		}
	}
	return nil
}

// unsettled says which direction has not opened, and why.
func (r *Runner) unsettled() error {
	for _, d := range r.dirs {
		switch {
		case d.open():
		case d.source != nil && d.sink != nil && d.source.tx.Completed() > 0:
			return notForwarding(d)
		default:
			return d.stalled()
		}
	}
	return nil
}

// probe looks whether a direction has opened, and sends a frame to find out if
// it has not. It reports whether anything has come out.
func (d *direction) probe() (moved bool, err error) {
	for _, p := range []*port.Port{d.from, d.to} {
		if p == nil {
			continue
		}
		if err := p.Err(); err != nil {
			return false, err
		}
	}
	if d.source != nil {
		d.source.tx.Settle()
		d.source.tx.Reap()
		if d.sink == nil {
			d.probed = int(d.source.tx.Completed())
		}
	}
	if d.sink != nil {
		d.sink.rx.Settle()
		n := d.sink.discard()
		d.probed += n
		// A back-end that sends by itself never becomes quiet.
		moved = n > 0 && d.source != nil
	}
	if d.source != nil {
		if d.source.tx.Outstanding() > 0 {
			return true, nil // the last probe has not been taken yet
		}
		if !d.open() {
			d.source.probe()
		}
	}
	return moved, nil
}

// open reports whether frames come through.
func (d *direction) open() bool { return d.probed >= probesOut }

// probe sends one frame that does not count.
func (s *source) probe() {
	if s.tx.Room(1) == 0 {
		return
	}
	slot, frame := s.tx.Next()
	(*header)(frame).seal(s.tag, probeNumber, 0, check(probeNumber, 0, s.plan.Size, s.slots[slot].mix))
	s.tx.Flush()
}

// discard takes what has arrived without counting it and returns how many
// buffers it was.
func (s *sink) discard() int {
	s.rx.Look()
	n := s.rx.Discard()
	s.rx.Return()
	return n
}

// notForwarding is what to say of a direction that has never opened.
func notForwarding(d *direction) error {
	return fmt.Errorf("%s: the back-end takes frames but none has come out for %v; does it forward between these two sockets?",
		d.name, d.plan.Stall)
}
