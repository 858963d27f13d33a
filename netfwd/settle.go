package netfwd

import virtionet "vvufwd/virtio/net"

// A ring that stops has one place where it goes on: what is before it was given back, and
// what is behind it will be taken again. Frames of a burst are not always sent in the
// order of the ring: those for several queue pairs are sorted, and a large one that is cut
// may have been sent in part. settle makes the place right.

// settle prepares for the moment when src takes back what it holds: that are, after it,
// the frames behind the last one of which something was sent. Those before it that were
// not sent yet it copies. So no frame is lost, and none is sent twice.
func (d *direction) settle() {
	if d.copied || d.n == 0 {
		return
	}
	end, kept := d.begun(), 0
	d.copies.reset()
	for i := d.sent; i < d.n; i++ {
		if d.number(i) < end {
			d.frames[kept] = d.copies.of(&d.frames[i])
			kept++
		}
	}
	d.src.Release(end - (d.sent - d.kept))
	d.n, d.sent, d.kept = kept, 0, 0
	d.copied, d.dealt = true, true // they are to be sorted anew
}

// begun is the number, in the order of the ring, of the frame behind the last one of
// which something was sent.
func (d *direction) begun() int {
	end := d.sent - d.kept // released
	for i := range d.frames[:d.n] {
		if i < d.sent || d.frames[i].Begun() {
			end = max(end, d.number(i)+1)
		}
	}
	return end
}

// number is the place of frame i in its burst as it came.
func (d *direction) number(i int) int {
	if d.numbered {
		return int(d.frames[i].Number)
	}
	return i
}

// abandon drops what is not sent, for a peer of dst that is gone.
func (d *direction) abandon() {
	lost := d.n - d.sent
	if !d.copied && d.n > 0 {
		end := d.begun()
		d.src.Release(end - (d.sent - d.kept))
		lost -= d.n - end // these src counts
		d.src.Abandon()
	}
	d.src.Counters().Drops[virtionet.DropStopped] += uint64(lost)
	d.forget()
}

// giveUp is settle for the end of everything: what could only be copied is dropped.
func (d *direction) giveUp() {
	if !d.copied && d.n > 0 {
		d.src.Release(d.begun() - (d.sent - d.kept))
	}
	d.forget()
}

// copies are frames in memory of ours. They are valid until reset.
type copies struct {
	bytes []byte
	views [virtionet.MaxBurst][2][]byte
	n     int
}

func (c *copies) reset() { c.bytes, c.n = c.bytes[:0], 0 }

// of copies a frame. Its first part stays a part: that can be its headers, see
// virtionet.Frame.Own.
func (c *copies) of(f *virtionet.Frame) virtionet.Frame {
	views := &c.views[c.n]
	c.n++
	start := len(c.bytes)
	c.bytes = append(c.bytes, f.Data[0]...)
	rest := len(c.bytes)
	for _, v := range f.Data[1:] {
		c.bytes = append(c.bytes, v...)
	}
	views[0], views[1] = c.bytes[start:rest:rest], c.bytes[rest:]
	out := *f
	out.Data = views[:1]
	if len(f.Data) > 1 {
		out.Data = views[:]
	}
	return out
}
