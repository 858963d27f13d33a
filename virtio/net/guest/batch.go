package guest

import "vvufwd/virtio/vring"

// batch makes bursts larger where guest and forwarder, each on a core of its own, take
// turns at the same cache lines: those of a packed ring's descriptors. A forwarder that is
// faster than the guest takes them one by one otherwise, out of lines that the guest is
// still writing to, which costs both of them a transfer each time.
type batch struct {
	last   int // frames that were taken at once
	waited int // looks since then that found some and left them
}

const (
	batchSize  = 32 // frames that are waited for
	batchLooks = 16 // looks, at most
	batchFrom  = 8  // only while so many come at once: a lone frame goes at once
)

// waits reports whether the frames that wait, if any do, are to be left for this look.
func (w *batch) waits(q *vring.Device) bool {
	if w.last < batchFrom || w.waited == batchLooks || !q.Growing(batchSize) {
		return false
	}
	w.waited++
	return true
}

// took notes that n frames were taken.
func (w *batch) took(n int) { w.last, w.waited = n, 0 }
