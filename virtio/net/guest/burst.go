package guest

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// ReadPlain fills b with the plain frames that come next, in order, and returns how
// many. Nothing is taken from the ring before FinishRead. If there are none, other says
// whether something else may wait, for RxBurst.
func (g *Port) ReadPlain(b *virtionet.Burst) (n int, other bool) {
	q := g.cur.FromGuest
	if q == nil || g.muted || g.due || q.Err() != nil {
		return 0, true
	}
	n, tailed := q.ReadOps(&b.Ops, &b.Tails, g.cur.HeaderLen, virtionet.MinFrame, virtionet.MaxFrame)
	if n == 0 {
		return 0, q.Waits()
	}
	b.Fill(tailed)
	if may := g.cur.Sends; may != 0 {
		vring.PrefetchSrc(b.Ops[:n])
		for i := range b.Ops[:n] {
			if !b.Inspect(i, b.Ops[i].Dst, may) {
				return i, i == 0
			}
		}
	}
	return n, false
}

// FinishRead gives the buffers of the first n frames back to the guest.
func (g *Port) FinishRead(b *virtionet.Burst, n int) {
	g.cur.FromGuest.CompleteReads(b.Ops[:n])
	g.unsignalled[1] = true
	g.counters.CountPlain(b, n)
}

// WritePlain gives the first n frames of b places in the guest's buffers and returns of
// how many. If of none, other says whether they are something for TxBurst; otherwise
// there is no room now.
func (g *Port) WritePlain(b *virtionet.Burst, n int) (m int, other bool) {
	q := g.cur.ToGuest
	if g.closed || g.cur.Filter != nil || q.Err() != nil {
		return 0, true
	}
	b.SetDestination(g.cur.HeaderLen, 1, g.cur.Takes)
	m = q.WriteOps(b.Ops[:n], g.cur.HeaderLen, g.cur.maxFrame())
	if m == 0 {
		return 0, q.Waits()
	}
	return m, false
}

// FinishWrite hands the first n frames over, which have been copied.
func (g *Port) FinishWrite(b *virtionet.Burst, n int) {
	g.cur.ToGuest.CompleteWrites(b.Ops[:n], g.cur.HeaderLen)
	g.unsignalled[0] = true
	g.counters.CountSent(b, n)
}
