package guest

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// rxFrames takes the frames that the guest sent, at most len(frames) or MaxBurst,
// and returns how many. Their views stay valid until they are released; it must
// not be called while frames are held.
func (g *Port) rxFrames(frames []virtionet.Frame) int {
	q := g.cur.FromGuest
	g.held, g.released, g.taken, g.given = 0, 0, 0, 0
	if g.due && q != nil && len(frames) > 0 { // nil: the ring is away, see Pause
		return g.rxAnnouncement(&frames[0])
	}
	if g.muted && g.awaits(1, g.cur.FromGuestAwaited) {
		return 0
	}
	if q == nil || q.Available() == 0 {
		if q != nil && q.Err() != nil {
			g.checkFaults()
		}
		return 0
	}
	q.ResetViews()
	chains := g.sent[:min(len(frames), virtionet.MaxBurst)]
	chains = chains[:q.PopBurst(chains)]
	q.PrefetchRead()
	plain := g.cur.Sends == 0
	if !plain {
		g.parser.Reset()
	}
	n := 0
	for i := range chains {
		c := &chains[i]
		g.heads[i], g.reason[i] = c.Head, g.accept(c)
		if g.reason[i] != virtionet.NumDrops {
			continue
		}
		f := &frames[n]
		f.Header = virtionet.Header{}
		f.Len = int(c.ReadLen) - g.cur.HeaderLen
		if plain {
			f.Data = virtionet.AfterHeader(c.Read, g.cur.HeaderLen)
		} else if !g.inspect(n, f, c) {
			g.reason[i] = virtionet.DropBadHeader
			continue
		}
		g.frameEnd[n], g.frameLen[n] = i+1, f.Len
		n++
	}
	g.held, g.released = n, 0
	g.taken, g.given = len(chains), 0
	if n == 0 {
		g.giveBack(q, len(chains)) // only drops
		g.complete(q)
	}
	if q.Err() != nil {
		g.checkFaults()
	}
	return n
}

// inspect is for a guest that may leave something undone: it reads the header.
func (g *Port) inspect(i int, f *virtionet.Frame, c *vring.Chain) bool {
	var head [virtionet.LegacyHeaderLen]byte
	virtionet.CopyHeader(&head, c.Read)
	f.Data = virtionet.AfterHeader(c.Read, g.cur.HeaderLen)
	return g.parser.Parse(i, f, &head, g.cur.Sends)
}

// accept checks a chain of the guest's transmit ring, and returns why it is dropped, or
// NumDrops. What cannot be forwarded is given back when its turn comes.
//
// That goes also for chains that no driver may offer: with a part for the device to write
// to, or shorter than the header (5.1.6.2). The specification leaves to the device what it
// makes of them, and devices differ: QEMU's declares itself broken, vhost-net stops, DPDK
// completes them and goes on. Here the ring goes on. It is in order, for the chain has a
// name by which it can be given back; a guest survives a buffer that comes back, whatever
// was in it, but not a network card that stops for one. Only where the ring itself makes no
// sense, so that no one can say what comes next or what a descriptor means, it stops.
func (g *Port) accept(c *vring.Chain) virtionet.Drop {
	length := int(c.ReadLen) - g.cur.HeaderLen
	if c.WriteLen == 0 && length >= virtionet.MinFrame && length <= virtionet.MaxFrame && g.cur.FromGuestEnabled {
		return virtionet.NumDrops
	}
	switch {
	case !g.cur.FromGuestEnabled:
		return virtionet.DropNoPeer
	case c.WriteLen != 0 || length < 0:
		return virtionet.DropBadBuffer
	case length < virtionet.MinFrame:
		return virtionet.DropRunt
	}
	return virtionet.DropTooLong
}

// release gives the oldest n held frames back to the guest.
func (g *Port) release(n int) {
	if n == 0 {
		return
	}
	q := g.cur.FromGuest
	for _, length := range g.frameLen[g.released : g.released+n] {
		g.counters.RxBytes += uint64(length)
	}
	g.counters.RxPackets += uint64(n)
	g.released += n
	end := g.taken
	if g.released < g.held {
		end = g.frameEnd[g.released-1]
	}
	g.giveBack(q, end)
	g.complete(q)
}

// giveBack pushes the chains before the one with index end, and counts those that were dropped. They go back in the
// order in which the guest offered them, dropped ones included, which is what
// VIRTIO_F_IN_ORDER promises (2.7.9).
func (g *Port) giveBack(q *vring.Device, end int) {
	for i := g.given; i < end; i++ {
		if why := g.reason[i]; why != virtionet.NumDrops {
			g.counters.Drops[why]++
		}
		q.Push(g.heads[i], 0)
	}
	g.given = end
}

// abandon drops the frames that are still held.
func (g *Port) abandon() {
	if left := g.held - g.released; left > 0 {
		g.counters.Drops[virtionet.DropStopped] += uint64(left)
		g.release(left)
	}
	g.held, g.released = 0, 0
}
