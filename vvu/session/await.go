package session

import (
	"time"

	"vvufwd/virtio/vring"
)

// Grace is how long a ring is awaited that was stopped, or started without being enabled
// yet, or disabled. Its front-end may be pausing its guest, or bringing it back: crosvm
// starts rings long before it enables them, cloud-hypervisor too after a reconnect and
// disables them when it pauses. What was sent meanwhile, in either direction, would be
// lost otherwise. That a back-end shall discard what is sent through a ring that is
// disabled (vhost-user, "Ring states"), so that a guest does not wait for ever, it does
// after that. It is below the time after which Linux takes a transmit queue for dead, 5 s.
const Grace = 3 * time.Second

// awaited is what is known of a ring that frames may wait for.
type awaited struct {
	ring    *vring.Device // that was installed last
	enabled bool
	until   time.Time
}

// await notes that ring i is about to be installed as it is, and returns until when
// frames wait for it to be of use. For a ring that never ran no one waits.
func (s *Session) await(i int) time.Time {
	a, ring, enabled := &s.awaited[i], s.dataRing(i), s.enabled(i)
	if ring != a.ring || ring != nil && enabled != a.enabled {
		a.ring, a.until = ring, time.Now().Add(Grace)
	}
	a.enabled = enabled
	return a.until
}
