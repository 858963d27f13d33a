package netfwd

// direction carries what comes from one port to another, or if it is steered to some. It
// stays with its port; where the frames go is up to the lane that it is in.
type direction struct {
	batch
	dst    *member  // to which frames go, or if they are steered those of the next run
	steer  *steered // to several queue pairs of a guest, or nil
	learn  *learner // that is to know what src sends, or nil
	record tracking
}

func newDirection(src *member) *direction {
	d := &direction{batch: batch{src: src}, record: trackingOf(src)}
	d.forget()
	return d
}

// step moves one burst and reports whether anything moved, be it only frames to be
// dropped: looking at those takes as long. Frames for which there is no room are kept for
// the next step, and src is not asked for more.
func (d *direction) step() (worked bool) {
	if !d.left() {
		if d.record.unsettled() && !d.settled() {
			return false
		}
		if worked = d.receive(); !d.left() {
			return worked
		}
		if d.learn != nil || d.steer != nil {
			d.in.Prefetch()
		}
		if d.learn != nil {
			d.learn.note(&d.in)
		}
		if d.steer != nil {
			d.out, d.sent = d.steer.sort(&d.batch)
		}
	} else if d.stale {
		d.sortAgain()
	}
	d.stale = false
	worked = false
	for d.left() {
		end := d.out.Len()
		if d.steer != nil {
			d.dst, end = d.steer.run(d.sent)
		}
		done := d.dst.Transmit(d.out, d.sent, end)
		worked = worked || done > 0
		all := d.sent+done == end
		d.advance(done)
		if !all {
			break
		}
	}
	return worked
}

// sortAgain makes frames that are not sent yet ready for where they go by now.
func (d *direction) sortAgain() {
	d.touched = d.begun()
	d.out.PutBack(d.sent)
	if d.steer != nil {
		d.out, d.sent = d.steer.sort(&d.batch)
	} else if d.sorted() {
		var order order
		d.out.Pick(&d.in, order.of(d.unsent()))
		d.sent = 0
	}
}

// blocked reports whether frames wait for room.
func (d *direction) blocked() bool { return d.left() }
