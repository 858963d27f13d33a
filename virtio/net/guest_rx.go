package virtionet

import "vvufwd/virtio/vring"

// RxBurst takes the frames that the guest sent, at most len(frames) or MaxBurst,
// and returns how many. Their views stay valid until they are released; it must
// not be called while frames are held.
func (g *Guest) RxBurst(frames []Frame) int {
	q := g.cur.FromGuest
	if q == nil || q.Available() == 0 {
		if q != nil && q.Err() != nil {
			g.checkFaults()
		}
		return 0
	}
	q.ResetViews()
	c := &g.chain
	n := 0
	limit := min(len(frames), MaxBurst)
	for taken := 0; n < limit && taken < 2*MaxBurst && q.Pop(c); taken++ {
		if !g.accept(q, c) {
			continue
		}
		f := &frames[n]
		f.Header, f.Data = decodeHeader(c.Read, g.cur.HeaderLen)
		f.Len = int(c.ReadLen) - g.cur.HeaderLen
		f.Header = Header{} // no offload is negotiated yet: nothing in it may pass
		g.heads[n] = c.Head
		g.counters.RxBytes += uint64(f.Len)
		n++
	}
	g.counters.RxPackets += uint64(n)
	g.held, g.released = n, 0
	if n == 0 {
		g.finish(q, g.cur.FromGuestCall) // only drops
	}
	if q.Err() != nil {
		g.checkFaults()
	}
	return n
}

// accept checks a chain of the guest's transmit ring. What cannot be forwarded
// is completed at once; a chain that no driver may offer breaks the ring.
func (g *Guest) accept(q *vring.Device, c *vring.Chain) bool {
	hdr := uint32(g.cur.HeaderLen)
	switch {
	case c.WriteLen != 0:
		q.Fail(vring.FaultDirection)
		return false
	case c.ReadLen < hdr:
		q.Fail(vring.FaultEmpty)
		return false
	case !g.cur.FromGuestEnabled:
		g.counters.Drops[DropNoPeer]++
	case c.ReadLen-hdr < MinFrame:
		g.counters.Drops[DropRunt]++
	case c.ReadLen-hdr > MaxFrame:
		g.counters.Drops[DropTooLong]++
	default:
		return true
	}
	q.Push(c.Head, 0)
	return false
}

// Release gives the oldest n held frames back to the guest.
func (g *Guest) Release(n int) {
	q := g.cur.FromGuest
	for i := g.released; i < g.released+n; i++ {
		q.Push(g.heads[i], 0)
	}
	g.released += n
	g.finish(q, g.cur.FromGuestCall)
}

// Abandon drops the frames that are still held.
func (g *Guest) Abandon() {
	if left := g.held - g.released; left > 0 {
		g.counters.Drops[DropStopped] += uint64(left)
		g.Release(left)
	}
	g.held, g.released = 0, 0
}
