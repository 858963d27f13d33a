package device

import (
	"slices"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vfiouser"
)

// deferred is what is done when mu is released: what touches a descriptor of the
// front-end or of the driver VM's monitor. Nothing of that should take long, but it
// is the kernel's code that runs, on a file that a peer has too; register accesses,
// which wait for mu, do not wait for it.
type deferred struct {
	host    vfiouser.Host // that is to get the vectors
	vectors []uint16      // to be raised, each once
	ring    []*peerfd.Event
	close   []*peerfd.Event
	unwatch []*peerfd.Event // and close
	link    bool            // OnLink is to be called
}

// unlock releases mu and does what was deferred. It takes the place of mu.Unlock.
func (d *Device) unlock() {
	pending := d.deferred
	d.deferred = deferred{}
	d.mu.Unlock()
	for _, v := range pending.vectors {
		pending.host.Signal(int(v))
	}
	for _, e := range pending.ring {
		e.Ring()
	}
	for _, e := range pending.unwatch {
		d.kicks.remove(e)
	}
	for _, e := range pending.close {
		e.Close()
	}
	if pending.link && d.onLink != nil {
		d.onLink()
	}
}

// wait waits until something has changed, or just might have. It takes the place of
// cond.Wait. mu is held.
func (d *Device) wait() {
	if d.deferred.any() {
		d.unlock()
		d.mu.Lock()
		return // a change that came meanwhile would not be waited for
	}
	d.cond.Wait()
}

func (o *deferred) any() bool {
	return len(o.vectors)+len(o.ring)+len(o.close)+len(o.unwatch) > 0 || o.link
}

// interrupt raises a vector, or none with virtio.NoVector; mu is held.
func (d *Device) interrupt(vector uint16) {
	if d.host == nil || int(vector) >= d.layout.vectors {
		return
	}
	if d.deferred.host != d.host { // the one before is gone, and no one hears its vectors
		d.deferred.host, d.deferred.vectors = d.host, nil
	}
	if !slices.Contains(d.deferred.vectors, vector) {
		d.deferred.vectors = append(d.deferred.vectors, vector)
	}
}
