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
	chains := g.sent[:min(len(frames), MaxBurst)]
	chains = chains[:q.PopBurst(chains)]
	q.PrefetchRead()
	n := 0
	for i := range chains {
		c := &chains[i]
		if !g.accept(q, c) {
			if q.Err() != nil {
				q.Unpop(len(chains) - i - 1)
				break
			}
			continue
		}
		f := &frames[n]
		f.Header = Header{} // no offload is negotiated yet: nothing in it may pass
		f.Data = behindHeader(c.Read, g.cur.HeaderLen)
		f.Len = int(c.ReadLen) - g.cur.HeaderLen
		g.heads[n] = c.Head
		g.counters.RxBytes += uint64(f.Len)
		n++
	}
	g.counters.RxPackets += uint64(n)
	g.held, g.released = n, 0
	if n == 0 {
		g.complete(q) // only drops
	}
	if q.Err() != nil {
		g.checkFaults()
	}
	return n
}

// accept checks a chain of the guest's transmit ring. What cannot be forwarded
// is completed at once; a chain that no driver may offer breaks the ring.
func (g *Guest) accept(q *vring.Device, c *vring.Chain) bool {
	length := int(c.ReadLen) - g.cur.HeaderLen
	if c.WriteLen == 0 && length >= MinFrame && length <= MaxFrame && g.cur.FromGuestEnabled {
		return true
	}
	switch {
	case c.WriteLen != 0:
		q.Fail(vring.FaultDirection)
		return false
	case length < 0:
		q.Fail(vring.FaultEmpty)
		return false
	case !g.cur.FromGuestEnabled:
		g.counters.Drops[DropNoPeer]++
	case length < MinFrame:
		g.counters.Drops[DropRunt]++
	default:
		g.counters.Drops[DropTooLong]++
	}
	q.Push(c.Head, 0)
	return false
}

// Release gives the oldest n held frames back to the guest.
func (g *Guest) Release(n int) {
	q := g.cur.FromGuest
	for _, head := range g.heads[g.released : g.released+n] {
		q.Push(head, 0)
	}
	g.released += n
	g.complete(q)
}

// Abandon drops the frames that are still held.
func (g *Guest) Abandon() {
	if left := g.held - g.released; left > 0 {
		g.counters.Drops[DropStopped] += uint64(left)
		g.Release(left)
	}
	g.held, g.released = 0, 0
}
