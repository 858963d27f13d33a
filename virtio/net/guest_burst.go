package virtionet

import "vvufwd/virtio/vring"

// ReadPlain fills b with the plain frames that come next, in order, and returns how
// many. Nothing is taken from the ring before FinishRead. If there are none, other says
// whether something else may wait, for RxBurst.
func (g *Guest) ReadPlain(b *Burst) (n int, other bool) {
	q := g.cur.FromGuest
	if q == nil || g.muted || g.due || q.Err() != nil {
		return 0, true
	}
	n, tailed := q.ReadOps(&b.ops, &b.tails, g.cur.HeaderLen, MinFrame, MaxFrame)
	if n == 0 {
		return 0, q.Waits()
	}
	b.fill(tailed)
	vring.PrefetchSrc(b.ops[:n])
	if may := g.cur.Sends; may != 0 {
		for i := range b.ops[:n] {
			// Once read, a header is not looked at again: its sender may change it.
			at := b.ops[i].Dst
			if !b.plain(i, may, load64(at), func() uint16 { return load16(at + 8) }) {
				return i, i == 0
			}
		}
	}
	return n, false
}

// FinishRead gives the buffers of the first n frames back to the guest.
func (g *Guest) FinishRead(b *Burst, n int) {
	g.cur.FromGuest.CompleteReads(b.ops[:n])
	g.unsignalled[1] = true
	g.counters.countPlain(b, n)
}

// WritePlain gives the first n frames of b places in the guest's buffers and returns of
// how many. If of none, other says whether they are something for TxBurst; otherwise
// there is no room now.
func (g *Guest) WritePlain(b *Burst, n int) (m int, other bool) {
	q := g.cur.ToGuest
	if g.closed || g.cur.Filter != nil || q.Err() != nil {
		return 0, true
	}
	b.head, b.numBuffers = g.cur.HeaderLen, 1<<16
	b.accepts(g.cur.Takes)
	m = q.WriteOps(b.ops[:n], g.cur.HeaderLen, g.cur.maxFrame())
	if m == 0 {
		return 0, q.Waits()
	}
	vring.PrefetchDst(b.ops[:m])
	return m, false
}

// FinishWrite hands the first n frames over, which have been copied.
func (g *Guest) FinishWrite(b *Burst, n int) {
	g.cur.ToGuest.CompleteWrites(b.ops[:n], g.cur.HeaderLen)
	g.unsignalled[0] = true
	g.counters.countSent(b, n)
}

// countPlain counts the first n frames, all that were copied, as received.
func (c *Counters) countPlain(b *Burst, n int) {
	c.RxPackets += uint64(n)
	c.RxBytes += b.bytes
	c.Plain += uint64(n)
}

// countSent counts them as transmitted.
func (c *Counters) countSent(b *Burst, n int) {
	c.TxPackets += uint64(n)
	c.TxBytes += b.bytes
	if unfinished := b.unfinished(n); b.takesCsum {
		c.Offloaded += unfinished
	} else {
		c.Checksummed += unfinished
	}
}
