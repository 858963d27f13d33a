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

// tracking is of a direction whose source is a guest: there may be a record of what was taken
// from it by a back-end before us that was killed. While frames are on their way it is kept by
// the guests' ports, see virtionet.Recorder.
type tracking struct {
	guest    *guest.Port // or nil
	deadline time.Time   // see settled
}

func trackingOf(src *member) tracking {
	g, _ := src.Port.(*guest.Port)
	return tracking{guest: g}
}

// unsettled reports whether it is not known yet what became of the frames that come next.
func (t *tracking) unsettled() bool { return t.guest != nil && t.guest.Unsettled() }

// waits reports whether frames wait until it is.
func (t *tracking) waits() bool { return !t.deadline.IsZero() }

// resume takes note that src has other rings perhaps: a wait for dst's guest goes on if
// one is needed still, and is over for a guest that went away meanwhile.
func (t *tracking) resume() {
	if !t.unsettled() {
		t.deadline = time.Time{}
	}
}

// settled finds out what became of frames that were on their way when the back-end before
// us was killed. It returns false while that has to wait: for dst's guest to come back,
// which can tell, and for which the frames are.
func (d *direction) settled() bool {
	now, t := time.Now(), &d.record
	if t.deadline.IsZero() {
		t.deadline = now.Add(comeback)
	}
	if d.dst.State() != virtionet.StateActive && now.Before(t.deadline) {
		return false
	}
	t.deadline = time.Time{}
	to, ok := d.dst.Port.(*guest.Port)
	if !ok || d.steer != nil { // to be exact there has to be one queue pair that they can have gone to
		to = nil
	}
	t.guest.Settle(to)
	return true
}
