package netfwd

import virtionet "vvufwd/virtio/net"

// batch is the burst that a port has handed out, and how far it has come. It is sent in
// the order in which it came, or sorted for several queue pairs, see steered. As long as it is
// in order src has frames back as soon as they are sent, and otherwise when all are.
type batch struct {
	src      *member
	in       virtionet.Burst  // as src has handed it out
	out      *virtionet.Burst // what is sent: in, or frames picked from it
	sent     int              // of out, done with
	released int              // of in, src has back
	touched  int              // of in, up to the last of which something was sent before out was sorted
	stale    bool             // the order is one for queue pairs of another lane, or of frames that are not left

	copied bool // the frames are copies of ours: src holds nothing
	copies *copies
}

// left reports whether there are frames that are not sent.
func (b *batch) left() bool { return b.out != nil && b.sent < b.out.Len() }

// receive takes the next burst. None is left of the last one.
func (b *batch) receive() (worked bool) {
	b.forget()
	if worked = b.src.Receive(&b.in); !worked {
		b.in.Reset()
	}
	return worked
}

// forget forgets frames that src does not hold any more.
func (b *batch) forget() {
	b.in.Reset()
	b.out, b.sent, b.released, b.touched, b.copied = &b.in, 0, 0, 0, false
}

// sorted reports whether out has another order than in.
func (b *batch) sorted() bool { return b.out != &b.in }

// unsent are the frames of in that are not sent, as bits by their index.
func (b *batch) unsent() (set uint64) {
	for i := b.sent; i < b.out.Len(); i++ {
		set |= 1 << b.out.Index(i)
	}
	return set
}

// advance notes that the next n frames are done with.
func (b *batch) advance(n int) {
	b.sent += n
	switch {
	case !b.sorted():
		b.release(b.sent)
	case !b.left():
		b.release(b.in.Len())
	}
}

// release gives src back what it still holds before frame end of in.
func (b *batch) release(end int) {
	if !b.copied && end > b.released {
		b.src.Release(&b.in, b.released, end)
	}
	b.released = max(b.released, end)
}
