package guest

import virtionet "vvufwd/virtio/net"

// Receive fills b with the frames that the guest has sent, see netfwd.Port.
func (g *Port) Receive(b *virtionet.Burst) (worked bool) {
	n, other := g.readPlain(b)
	if n > 0 || !other {
		b.Truncate(n)
		return n > 0
	}
	n = g.rxFrames(b.General())
	b.Truncate(n)
	if n > 0 && g.Tracked() {
		b.Recorder = g
	}
	return n > 0 || g.taken > 0
}

// Release gives the buffers of frames first to end-1 back to the guest.
func (g *Port) Release(b *virtionet.Burst, first, end int) {
	if !b.Plain() {
		g.release(end - first)
		return
	}
	if first == end {
		return
	}
	g.cur.FromGuest.CompleteReads(b.Ops[first:end])
	g.unsignalled[1] = true
	g.counters.CountReceived(b, first, end)
}

// Transmit copies frames first to end-1 into the guest's receive buffers and returns with how
// many it is done, see netfwd.Port. Fewer mean that the guest offers no room for the next one
// now, that its ring is away for a moment, or that the next buffer is no plain one.
func (g *Port) Transmit(b *virtionet.Burst, first, end int) (done int) {
	g.early = false
	if b.Plain() {
		n, other := g.writePlain(b, first, end)
		if n > 0 {
			b.Copy(first, first+n)
			g.cur.ToGuest.CompleteWrites(b.Ops[first:first+n], &b.To)
			g.unsignalled[0] = true
			g.counters.CountSent(b, first, first+n)
			g.work += 2 * uint64(b.To.Spread.Len())
		}
		if n > 0 || !other {
			return n
		}
		end = b.ToCut(first, end)
	}
	if b.Recorder != nil {
		return g.txRecorded(b.Recorder, b.Frames(first, end))
	}
	return g.txFrames(b.Frames(first, end))
}

// readPlain fills b with the plain frames that come next, in order, and returns how
// many. Nothing is taken from the ring before Release. If there are none, other says
// whether something else may wait, for rxFrames.
func (g *Port) readPlain(b *virtionet.Burst) (n int, other bool) {
	q := g.cur.FromGuest
	if q == nil || g.muted || g.due || q.Err() != nil {
		return 0, true
	}
	if g.batch.waits(q) {
		return 0, false
	}
	for range 2 { // what has come since the first look is most likely plain, too
		n = q.ReadOps(&b.Ops, &b.From, g.cur.HeaderLen, virtionet.MinFrame, virtionet.MaxFrame)
		if n > 0 {
			break
		}
		if !q.Waits() {
			return 0, false
		}
	}
	if n == 0 {
		return 0, true
	}
	g.batch.took(n)
	b.Fill(n)
	if may := g.cur.Sends; may != 0 {
		b.Prefetch()
		for i := range b.Ops[:n] {
			if !b.Inspect(i, b.Ops[i].Dst, may) {
				return i, i == 0
			}
		}
	}
	return n, false
}

// writePlain gives plain frames from first on places in the guest's buffers and returns how
// many. If none, other says whether they are something for txFrames; otherwise
// there is no room now.
func (g *Port) writePlain(b *virtionet.Burst, first, end int) (n int, other bool) {
	q := g.cur.ToGuest
	if g.closed || g.cur.Filter != nil || q.Err() != nil {
		return 0, true
	}
	end = b.SetDestination(first, end, virtionet.Destination{HeaderLen: g.cur.HeaderLen, NumBuffers: 1, MaxFrame: g.cur.maxFrame(), Takes: g.cur.Takes})
	if end == first {
		return 0, true
	}
	b.To.Mergeable = g.cur.Mergeable
	found, wait := q.WriteOps(b.Ops[first:end], &b.To)
	if n = b.Placed(first, found); n == 0 {
		return 0, found > 0 || !wait // there is room for the first one, wherever the buffers end
	}
	return n, false
}
