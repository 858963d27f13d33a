package device

import (
	"testing"

	"vvufwd/vvu/vhostuser"
)

// setLink writes the link field.
func (d *driver) setLink(up uint64) { d.write(barVirtio, configOffset+configLink, 4, up) }

func (d *driver) link() uint64 { return d.read(barVirtio, configOffset+configLink, 4) }

// TestLinkDown: the session ends and further front-ends are refused at once, until the
// link is up again.
func TestLinkDown(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.bringUp(featureLink)
	if d.link() != 1 {
		t.Errorf("the link reads %d to begin with", d.link())
	}
	d.setUp(1)
	c := r.dialApp()
	d.waitStatus(statusBoth)
	exchange(t, d, c)
	for range 3 {
		d.setLink(0)
		closed(t, c)
		d.waitStatus(statusNone)
		if d.link() != 0 {
			t.Errorf("the link reads %d when it is down", d.link())
		}
		d.setUp(1) // the driver is ready, and no one comes
		for range 5 {
			closed(t, r.dialApp())
		}
		d.expectStatus(statusDriver, "front-ends that were refused")
		d.setLink(1)
		if d.link() != 1 {
			t.Errorf("the link reads %d when it is up", d.link())
		}
		c = r.dialApp()
		d.waitStatus(statusBoth)
		d.setLink(1) // no news
		exchange(t, d, c)
	}
}

// TestLinkDownWithoutDriver: a front-end that waits for the driver is sent away too.
func TestLinkDownWithoutDriver(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.bringUp(featureLink)
	c := r.dialApp()
	r.arrived(true)
	d.setLink(0)
	closed(t, c)
	// A reset takes it up: the next driver may know nothing of it.
	d.bringUp(0)
	if d.link() != 1 {
		t.Errorf("the link reads %d after a reset", d.link())
	}
	d.setUp(1)
	c = r.dialApp()
	d.waitStatus(statusBoth)
	d.setLink(0) // the feature was not negotiated: a field that cannot be written
	if d.link() != 1 {
		t.Errorf("the link reads %d without its feature", d.link())
	}
	exchange(t, d, c)
	send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	if m := d.receive(); m.Request != vhostuser.SetOwner {
		t.Errorf("driver got %v", m)
	}
}
