package device

import (
	"encoding/binary"

	"vvufwd/virtio"
	"vvufwd/virtio/peerfd"
)

// Notification registers (virtio-vhost-user draft): 16 bits each.
const (
	regSelect = 0
	regVector = 2
	regsSize  = 4
)

// doorbell signals a notifier of the front-end: call of ring i at index i, error
// at max_vhost_queues+i. What is written does not matter.
func (d *Device) doorbell(offset uint64) {
	index := int(offset / doorbellStride)
	n := len(d.rings)
	var e *peerfd.Event
	switch {
	case index < n:
		e = d.rings[index].call
	case index < 2*n:
		e = d.rings[index-n].err
	}
	if e != nil {
		d.deferred.ring = append(d.deferred.ring, e)
	}
}

// notification is the image of the notification registers.
func (d *Device) notification() (b [regsSize]byte) {
	binary.LittleEndian.PutUint16(b[regSelect:], d.notifySelect)
	binary.LittleEndian.PutUint16(b[regVector:], d.rings[d.notifySelect].vector)
	return b
}

// writeNotification changes the registers that are written in whole. A ring that
// does not exist cannot be selected.
func (d *Device) writeNotification(offset uint64, p []byte) {
	field := func(at uint64) (v uint16, ok bool) {
		if offset > at || offset+uint64(len(p)) < at+2 {
			return 0, false
		}
		return binary.LittleEndian.Uint16(p[at-offset:]), true
	}
	if v, ok := field(regSelect); ok && int(v) < len(d.rings) {
		d.notifySelect = v
	}
	if v, ok := field(regVector); ok {
		r := &d.rings[d.notifySelect]
		r.vector = d.validVector(v)
		if r.kicked && r.vector != virtio.NoVector {
			r.kicked = false
			d.interrupt(r.vector)
		}
	}
}

// kickOf is the kick notifier with a tag, nil if it has been replaced.
func (d *Device) kickOf(tag kickTag) *peerfd.Event {
	d.mu.Lock()
	defer d.unlock()
	if r := &d.rings[tag.ring]; r.serial == tag.serial {
		return r.kick
	}
	return nil
}

// kicked is called by the watcher: the front-end's guest kicked a ring.
func (d *Device) kicked(tag kickTag) {
	e := d.kickOf(tag)
	if e == nil || !d.kicks.drain(e) {
		return
	}
	d.mu.Lock()
	defer d.unlock()
	r := &d.rings[tag.ring]
	if r.kick != e {
		return
	}
	if r.vector == virtio.NoVector {
		r.kicked = true
		return
	}
	d.interrupt(r.vector)
}

// setKick replaces the kick notifier of a ring (nil: none); mu is held. The caller has
// the new one watched with the tag, after it has released mu.
func (d *Device) setKick(ring int, e *peerfd.Event) kickTag {
	r := &d.rings[ring]
	if r.kick != nil {
		d.deferred.unwatch = append(d.deferred.unwatch, r.kick)
	}
	r.kick = e
	r.serial++
	return kickTag{int32(ring), r.serial}
}

// setCall and setErr replace a notifier of the front-end; mu is held.
func (d *Device) setCall(ring int, e *peerfd.Event) {
	d.drop(d.rings[ring].call)
	d.rings[ring].call = e
}

func (d *Device) setErr(ring int, e *peerfd.Event) {
	d.drop(d.rings[ring].err)
	d.rings[ring].err = e
}

// drop owes an event, if there is one (not nil), to be closed; mu is held.
func (d *Device) drop(e *peerfd.Event) {
	if e != nil {
		d.deferred.close = append(d.deferred.close, e)
	}
}

// release gives up all notifiers of a ring; mu is held.
func (d *Device) release(ring int) {
	d.setKick(ring, nil)
	d.setCall(ring, nil)
	d.setErr(ring, nil)
	d.rings[ring].kicked = false
}
