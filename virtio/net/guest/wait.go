package guest

import (
	"time"

	virtionet "vvufwd/virtio/net"
)

// assess finds out, after cur has changed, what its rings are good for now.
func (g *Port) assess() {
	q := g.cur
	state := q.state()
	g.closed, g.bare = state != virtionet.StateActive, false
	g.muted = q.FromGuest != nil && !q.FromGuestEnabled
	g.patient = [2]bool{!q.ToGuestAwaited.IsZero(), !q.FromGuestAwaited.IsZero()}
	if state == virtionet.StateActive && !q.ToGuest.Offered() {
		g.closed, g.bare = true, true
		state = virtionet.StateSending
	}
	if !q.paused {
		g.state.Store(uint32(state))
	}
}

// lookForRoom looks whether the guest has offered its first receive buffer. Until then
// no one shall wait for its receive ring who has another one to go to: monitors that keep
// to themselves how many queue pairs their guest uses have all rings enabled, and only some
// of them ever get buffers.
func (g *Port) lookForRoom() {
	q := g.cur.ToGuest
	if !q.Offered() && q.Err() == nil {
		return
	}
	g.checkFaults() // it is no ring to wait for either
	g.closed, g.bare = false, false
	g.state.Store(uint32(virtionet.StateActive))
	g.onStateChange()
}

// awaits reports whether a ring is still awaited, 0 for cur's ToGuest, 1 for FromGuest.
func (g *Port) awaits(ring int, until time.Time) bool {
	if g.patient[ring] && !time.Now().Before(until) {
		g.patient[ring] = false
	}
	return g.patient[ring]
}

// LongestSleep bounds the sleep of a forwarder while a ring is awaited: frames that wait for it are to
// be dropped some time, though no one kicks. It is negative, for without a bound, otherwise.
func (g *Port) LongestSleep() time.Duration {
	before := g.patient // one more look, after the time is over
	g.awaits(0, g.cur.ToGuestAwaited)
	g.awaits(1, g.cur.FromGuestAwaited)
	if before != [2]bool{} {
		return awaitedLook
	}
	return -1
}

// awaitedLook is how often to look whether waiting for a ring is over.
const awaitedLook = 100 * time.Millisecond

// holdOrDrop is txFrames while the receive ring is closed: frames wait as long as it is
// awaited, and are dropped after that.
func (g *Port) holdOrDrop(frames []virtionet.Frame) int {
	if g.awaits(0, g.cur.ToGuestAwaited) {
		return 0
	}
	g.counters.Drops[virtionet.DropNoPeer] += uint64(len(frames))
	return len(frames)
}

// takeBack lets the ring have what is held, as if it had not been taken: for a ring that
// is to stop, or to move. Buffers of frames that were dropped go back completed as far as
// the order of the ring allows.
func (g *Port) takeBack() {
	if g.held == g.released {
		return
	}
	if g.taken == 0 { // an announcement, which is in no ring
		g.held, g.released, g.due = 0, 0, true
		return
	}
	q := g.cur.FromGuest
	end := g.frameEnd[g.released] - 1
	q.Unpop(g.taken - end)
	g.taken, g.held, g.released = end, 0, 0
	g.giveBack(q, end)
	g.complete(q)
}
