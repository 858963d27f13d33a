package traffic

import (
	"fmt"
	"sync/atomic"

	"vvufwd/cmd/vvugen/port"
)

// direction is one stream: frames that go into one port and come out of
// another. Either end may be missing. One goroutine owns it, except progress.
type direction struct {
	name     string
	pair     int
	from, to *port.Port // nil if that end is missing
	source   *source    // with from
	sink     *sink      // with to
	plan     *Plan
	window   uint64 // frames that may be under way; 0: no limit

	probed      int    // probes that have come out
	takenBefore uint64 // frames that the back-end had taken when sending began

	ring uint64 // frames that from's ring has room for

	writtenOff uint64 // frames no longer counted as under way
	idleMark   uint64 // done() as of the last change
	idleSince  int64  // when it changed
	progress   Progress
}

// Progress is what a direction has done so far. It is safe for concurrent use
// and lags behind by some rounds.
type Progress struct {
	Name     string
	sent     atomic.Uint64
	received atomic.Uint64
}

// Sent is the number of frames sent.
func (p *Progress) Sent() uint64 { return p.sent.Load() }

// Received is the number of frames received, or, where there is no sink, taken
// by the back-end.
func (p *Progress) Received() uint64 { return p.received.Load() }

func newDirection(from, to *port.Port, s stream, plan *Plan, pat *pattern, c clock) *direction {
	d := &direction{from: from, to: to, plan: plan}
	if from != nil && to != nil {
		d.window = uint64(plan.Window)
	}
	if from != nil {
		d.ring = uint64(from.Tx.Size() / from.BuffersPerFrame())
		d.source = newSource(&from.Tx, s, plan, pat, c)
	}
	if to != nil {
		d.sink = newSink(&to.Rx, s, plan, to.BuffersPerFrame() == 1, c)
	}
	switch {
	case from == nil:
		d.name = "from " + to.Socket()
	case to == nil:
		d.name = "to " + from.Socket()
	default:
		d.name = fmt.Sprintf("%s -> %s", from.Socket(), to.Socket())
	}
	d.progress.Name = d.name
	return d
}

func (d *direction) sent() uint64 {
	if d.source == nil {
		return 0
	}
	return d.source.sent
}

// done is the number of frames that have come out at the other end.
func (d *direction) done() uint64 {
	if d.sink == nil {
		return d.source.tx.Completed() - d.takenBefore
	}
	return d.sink.received
}

// arrived is done without repetitions.
func (d *direction) arrived() uint64 {
	n := d.done()
	if d.sink != nil {
		n -= d.sink.order.Duplicated()
	}
	return n
}

// inFlight is the number of frames sent and neither received nor written off.
func (d *direction) inFlight() uint64 {
	gone := d.arrived() + d.writtenOff
	if gone >= d.sent() {
		return 0
	}
	return d.sent() - gone
}

// finished reports whether everything has been sent that the plan's count asks
// for.
func (d *direction) finished() bool {
	return d.source == nil || d.plan.Count > 0 && d.source.sent >= d.plan.Count
}

// send sends what is due at time t since sending began, and reports whether that
// was anything.
func (d *direction) send(t int64) bool {
	if d.source == nil {
		return false
	}
	want := min(uint64(d.plan.Burst), max(1, d.ring/2)) // for which there will be room
	sent := d.source.sent
	if d.window > 0 {
		// Whole bursts only, see source.send; small windows have small bursts.
		want = min(want, max(d.window/4, 1))
		if d.inFlight()+want > d.window {
			return false
		}
	}
	if d.plan.Count > 0 {
		want = min(want, d.plan.Count-sent)
	}
	if d.plan.Rate > 0 {
		due := uint64(d.plan.Rate * float64(t) / 1e9)
		want = min(want, due-min(due, sent))
	}
	return want > 0 && d.source.send(int(want)) > 0
}

// receive takes what has arrived, and reports whether that was anything.
func (d *direction) receive() bool {
	return d.sink != nil && d.sink.receive(d.sent()) > 0
}

// check publishes progress and returns an error if a port is of no use any
// more, or if nothing has moved for the plan's stall time.
func (d *direction) check(now int64) error {
	d.progress.sent.Store(d.sent())
	d.progress.received.Store(d.done())
	for _, p := range []*port.Port{d.from, d.to} {
		if p == nil {
			continue
		}
		if err := p.Err(); err != nil {
			return err
		}
	}
	moved := d.done()
	if d.sink != nil {
		d.to.Rx.Settle()
	}
	if d.source != nil {
		d.from.Tx.Settle()
		d.source.tx.Reap() // send does so only when the window is open
		moved += d.source.tx.Completed()
	}
	if moved != d.idleMark || d.source != nil && d.inFlight() == 0 && d.source.tx.Outstanding() == 0 {
		d.idleMark, d.idleSince = moved, now
		return nil
	}
	idle := now - d.idleSince
	if d.window > 0 && idle > int64(writeOffAfter) && d.source.tx.Outstanding() == 0 {
		d.writtenOff = d.sent() - min(d.sent(), d.arrived()) // lost; the window would stay shut
	}
	if idle > int64(d.plan.Stall) {
		return d.stalled()
	}
	return nil
}

// stalled says what a back-end fails to do.
func (d *direction) stalled() error {
	switch {
	case d.source == nil:
		return fmt.Errorf("port %s: the back-end has sent no frame for %v; is it forwarding, and to this socket?",
			d.to.Socket(), d.plan.Stall)
	case d.source.tx.Outstanding() > 0:
		return fmt.Errorf("port %s: the back-end has taken no frame for %v; is it forwarding?",
			d.from.Socket(), d.plan.Stall)
	}
	return notForwarding(d)
}

// drained reports whether nothing is under way any more.
func (d *direction) drained() bool {
	if d.source == nil {
		return true
	}
	if d.sink != nil {
		return d.arrived() >= d.source.sent
	}
	d.source.tx.Reap()
	return d.source.tx.Outstanding() == 0
}
