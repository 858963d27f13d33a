package guest

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Tracked reports whether someone keeps a record of what we take out of the guest's
// transmit ring, for a back-end that comes after one that was killed (vhost-user, "Inflight
// I/O tracking"): of frames that were on their way then none shall be lost, and none be
// sent twice.
func (g *Port) Tracked() bool {
	q := g.cur.FromGuest
	return q != nil && q.Tracked()
}

// txRecorded is txFrames for frames of which someone keeps a record. If the record of this
// guest is kept as well, he is told what is about to happen before the guest sees a frame.
func (g *Port) txRecorded(r virtionet.Recorder, frames []virtionet.Frame) int {
	if g.bare {
		g.lookForRoom()
	}
	q := g.cur.ToGuest
	if g.closed || q.Err() != nil || !q.Tracked() {
		return g.txFrames(frames)
	}
	g.later = true
	done := g.txFrames(frames)
	g.later = false
	if done > 0 && q.Err() == nil {
		r.Intend(done, q)
	}
	g.complete(q)
	return done
}

// Intend implements virtionet.Recorder for frames that this guest has sent, which must be
// released next. A large frame that is cut may be sent in part
// before there is no room; of that nothing is noted, and its pieces may be sent again.
func (g *Port) Intend(n int, to *vring.Device) {
	if g.taken > 0 { // else it is an announcement
		g.cur.FromGuest.Intend(g.chains(n), to)
	}
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
// rxFrames.
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
