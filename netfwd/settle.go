package netfwd

import (
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// A ring that stops has one place where it goes on: what is before it was given back, and
// what is after it will be taken again. Frames of a burst are not always sent in the
// order of the ring: those for several queue pairs are sorted, and a large one that is cut
// may have been sent in part. settle makes the place right.

// settle prepares for the moment when src takes back what it holds: that are, after it,
// the frames after the last one of which something was sent. Those before it that were
// not sent yet it copies. So no frame is lost, and none is sent twice.
func (b *batch) settle() {
	if b.copied || !b.left() {
		return
	}
	end := b.begun()
	if b.copies == nil {
		b.copies = &copies{}
	}
	b.copies.reset()
	for i := b.sent; i < b.out.Len(); i++ {
		if b.out.Index(i) < end {
			b.copies.add(&b.out.Frames(i, i+1)[0])
		}
	}
	b.release(end)
	b.forget()
	if b.copies.n > 0 {
		b.in.Truncate(copy(b.in.General(), b.copies.frames[:b.copies.n]))
		b.copied, b.stale = true, true
	}
}

// begun is the frame of in after the last one of which something was sent.
func (b *batch) begun() int {
	end := max(b.released, b.touched)
	for i := range b.out.Len() {
		if i < b.sent || b.out.Begun(i) {
			end = max(end, b.out.Index(i)+1)
		}
	}
	return end
}

// abandon drops what is not sent.
func (b *batch) abandon() {
	if b.left() {
		b.drop(b.out.Len() - b.sent)
		b.release(b.in.Len())
	}
	b.forget()
}

// drop counts n frames.
func (b *batch) drop(n int) { b.src.Counters().Drops[virtionet.DropStopped] += uint64(n) }

// giveUp is settle for the end of everything: what could only be copied is dropped.
func (b *batch) giveUp() {
	switch {
	case b.copied:
		b.abandon()
	case b.left():
		end := b.begun()
		b.release(end)
		b.drop(bits.OnesCount64(b.unsent() & (1<<end - 1)))
	}
	b.forget()
}

// fault is for a batch that a fault somewhere has broken off, after src has recovered: what
// is held comes again, or was dropped. But plain frames come again also if they were sent, in
// another order than they came in; then none of the burst does. Copies never come again.
func (b *batch) fault() {
	if b.left() && (b.copied || b.in.Plain() && b.begun() > b.released) {
		b.abandon()
	}
}

// copies are frames in memory of ours. They are valid until reset.
type copies struct {
	bytes  []byte
	frames [virtionet.MaxBurst]virtionet.Frame
	views  [virtionet.MaxBurst][2][]byte
	n      int
}

func (c *copies) reset() { c.bytes, c.n = c.bytes[:0], 0 }

// add copies a frame. Its first part stays a part: that can be its headers, see
// virtionet.Frame.Own.
func (c *copies) add(f *virtionet.Frame) {
	views, out := &c.views[c.n], &c.frames[c.n]
	c.n++
	start := len(c.bytes)
	c.bytes = append(c.bytes, f.Data[0]...)
	rest := len(c.bytes)
	for _, v := range f.Data[1:] {
		c.bytes = append(c.bytes, v...)
	}
	views[0], views[1] = c.bytes[start:rest:rest], c.bytes[rest:]
	*out = *f
	out.Data = views[:1]
	if len(f.Data) > 1 {
		out.Data = views[:]
	}
}
