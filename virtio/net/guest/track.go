package guest

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Tracked reports whether somebody keeps a record of what we take out of the guest's
// transmit ring, for a back-end that comes after one that was killed (vhost-user, "Inflight
// I/O tracking"): of frames that were on their way then none shall be lost, and none be
// sent twice.
func (g *Port) Tracked() bool {
	q := g.cur.FromGuest
	return q != nil && q.Tracked()
}

// Send is to.TxBurst for the next frames of this guest that are held. If the record of the
// other guest is kept as well, what is about to happen is noted before the other guest sees
// a frame. The frames must be released next. A large frame that is cut may be sent in part
// before there is no room; of that nothing is noted, and its pieces may be sent again.
func (g *Port) Send(to *Port, frames []virtionet.Frame) int {
	if to.bare {
		to.lookForRoom()
	}
	in, out := g.cur.FromGuest, to.cur.ToGuest
	if to.closed || out.Err() != nil || !out.Tracked() || g.taken == 0 {
		return to.TxBurst(frames)
	}
	to.later = true
	done := to.TxBurst(frames)
	to.later = false
	if done > 0 && out.Err() == nil {
		in.Intend(g.chains(done), out)
	}
	to.complete(out)
	return done
}

// chains is how many chains of the transmit ring go back with the next n frames that are
// held.
func (g *Port) chains(n int) int {
	if g.released+n < g.held {
		return g.frameEnd[g.released+n-1] - g.given
	}
	return g.taken - g.given
}

// Unsettled reports whether it is not known yet which frames at the head of the transmit
// ring were sent on by the back-end before, which was killed. Settle is due then, before
// RxBurst.
func (g *Port) Unsettled() bool { return g.unsettled }

// Settle finds that out, with the help of the guest to which they were sent, or says that
// they have to be sent again: if that is nil, or another one.
func (g *Port) Settle(to *Port) {
	g.unsettled = false
	q := g.cur.FromGuest
	intent, _ := q.Resumed()
	if intent.Peer == 0 || to == nil || to.cur.ToGuest == nil || !to.cur.ToGuest.Tracked() {
		return
	}
	if out := to.cur.ToGuest; out.Token() != intent.Peer || out.Began() == intent.Before {
		return // they were not published, or not there
	}
	q.Available()
	q.ResetViews()
	chains := g.sent[:min(intent.Count, virtionet.MaxBurst)]
	for _, c := range chains[:q.PopBurst(chains)] {
		q.Push(c.Head, 0)
	}
	q.ResetViews()
	g.complete(q)
}

// checkTracking notes whether the transmit ring, if it is another one than before, begins
// where a back-end was killed.
func (g *Port) checkTracking(before *vring.Device) {
	q := g.cur.FromGuest
	switch {
	case q == nil:
		g.unsettled = false
	case q != before:
		_, g.unsettled = q.Resumed()
	}
}
