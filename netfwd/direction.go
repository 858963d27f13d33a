package netfwd

import (
	"time"

	virtionet "vvufwd/virtio/net"
)

// direction carries frames from one port to another, or to some if it steers.
type direction struct {
	src, dst Port // dst: of those, the one that the next frame goes to
	frames   [virtionet.MaxBurst]virtionet.Frame
	n        int // frames handed out by src
	sent     int // of these, done with
	kept     int // of these, not released yet

	numbered bool   // the frames have their numbers
	copied   bool   // they are copies of ours: src holds nothing
	copies   copies // of frames

	settleBy time.Time // see settled

	steer   *steered  // to several queue pairs of a guest, or nil
	dealt   bool      // the frames were sorted for queue pairs of another lane
	several bool      // src is not the only queue pair of its end
	learn   *steering // that is to know what src sends, or nil
	learnAs int

	short *shortWay // for plain frames, if nobody has to look at them; or nil
}

// step moves one burst and reports whether anything moved. Frames for which dst
// has no room are kept for the next step. Nothing but frames to be dropped counts as a move if there
// are other queue pairs whose turn it might be: looking at that takes as long.
func (d *direction) step() bool {
	tracked := d.tracked()
	if d.sent == d.n {
		if tracked != nil && tracked.Unsettled() && !d.settled(tracked) {
			return false
		}
		if tracked != nil {
			d.short.rest()
		} else if d.short != nil {
			if moved, other := d.short.step(); moved || !other {
				return moved
			}
		}
		var before uint64
		if d.several {
			before = d.src.Counters().Dropped()
		}
		d.n, d.sent = d.src.RxBurst(d.frames[:]), 0
		d.numbered, d.copied = false, false
		if d.n == 0 {
			return d.several && d.src.Counters().Dropped() != before
		}
		if d.learn != nil {
			d.learn.learn(d.frames[:d.n], d.learnAs)
		}
		d.sort()
	} else if d.dealt {
		d.sort()
	}
	if d.numbered { // also if by now there is only one to send to: they are sorted
		return d.stepSteered()
	}
	var done int
	if tracked != nil {
		done = d.sendTracked(tracked)
	} else {
		done = d.dst.TxBurst(d.frames[d.sent:d.n])
	}
	if done == 0 {
		return false
	}
	d.sent += done
	d.release(done)
	return true
}

// sort makes frames that are not sent yet ready for where they go by now.
func (d *direction) sort() {
	d.dealt = false
	if d.steer == nil {
		return
	}
	if !d.numbered {
		for i := range d.frames[:d.n] {
			d.frames[i].Number = uint8(i)
		}
		d.numbered = true
	}
	d.steer.sort(d.frames[:d.n], d.sent)
}

// stepSteered is step for frames to several ports. They are not in the order in which
// they came any more, so none is released before all are sent.
func (d *direction) stepSteered() bool {
	moved := false
	for d.sent < d.n {
		end := d.n
		if d.steer != nil {
			d.dst, end = d.steer.run(d.sent)
		}
		done := d.dst.TxBurst(d.frames[d.sent:end])
		d.sent += done
		d.kept += done
		moved = moved || done > 0
		if d.sent < end {
			return moved
		}
	}
	d.release(d.kept)
	d.kept = 0
	return true
}

// release lets go of the oldest n frames that src still has from us.
func (d *direction) release(n int) {
	if !d.copied {
		d.src.Release(n)
	}
}

// blocked reports whether frames wait for room at dst.
func (d *direction) blocked() bool { return d.sent < d.n || d.short != nil && d.short.waits }

// forget lets go of frames that src does not hold any more.
func (d *direction) forget() { d.n, d.sent, d.kept = 0, 0, 0 }
