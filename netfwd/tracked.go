package netfwd

import (
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
)

// comeback is how long frames of a guest whose back-end was killed wait for the guest that
// they are for. Front-ends of both come back to the next back-end within a fraction of a
// second. It is below the time after which Linux takes a transmit queue for dead, 5 s.
const comeback = 3 * time.Second

// tracked is src if there is a record of what we take from it, else nil.
func (d *direction) tracked() *guest.Port {
	if g, ok := d.src.(*guest.Port); ok && g.Tracked() {
		return g
	}
	return nil
}

// sendTracked is TxBurst of frames that came from such a guest. To be exact there has to be
// one queue pair that they can go to, and one process that sends them.
func (d *direction) sendTracked(from *guest.Port) int {
	if to, ok := d.dst.(*guest.Port); ok && !d.copied {
		return from.Send(to, d.frames[d.sent:d.n])
	}
	return d.dst.TxBurst(d.frames[d.sent:d.n])
}

// resumeWait takes note that src has other rings perhaps: a wait for dst's guest goes on if
// one is needed still, and is over for a guest that went away meanwhile.
func (d *direction) resumeWait() {
	if from := d.tracked(); from == nil || !from.Unsettled() {
		d.settleBy = time.Time{}
	}
}

// settled finds out what became of frames that were on their way when the back-end before
// us was killed. It returns false while that has to wait: for dst's guest to come back,
// which can tell, and for which the frames are.
func (d *direction) settled(from *guest.Port) bool {
	now := time.Now()
	if d.settleBy.IsZero() {
		d.settleBy = now.Add(comeback)
	}
	if d.dst.State() != virtionet.StateActive && now.Before(d.settleBy) {
		return false
	}
	d.settleBy = time.Time{}
	to, ok := d.dst.(*guest.Port)
	if !ok || d.steer != nil {
		to = nil
	}
	from.Settle(to)
	return true
}
