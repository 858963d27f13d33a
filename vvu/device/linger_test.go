package device

import (
	"testing"

	"vvufwd/virtio/peerfd/peerfdtest"
	"vvufwd/vvu/vhostuser"
)

// A front-end can have the kernel hold up who reads its messages. The driver, whose register accesses end the session,
// does not wait for that, and neither does the next front-end.
func TestLingeringFile(t *testing.T) {
	for name, end := range map[string]func(*driver){
		"status":    func(d *driver) { d.setUp(0) },
		"reset":     func(d *driver) { d.bringUp(featureLink) },
		"link down": func(d *driver) { d.setLink(0); d.setLink(1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			d := r.plug()
			d.bringUp(featureLink)
			app := rawApp(t, r)
			r.arrived(true)
			peerfdtest.SendLingering(t, app, vhostuser.NewRequest(vhostuser.SetOwner, nil).Append(nil), 1) // not heard before the driver is up
			restore := peerfdtest.LeaveRoom(t, 0)
			d.setUp(1)
			d.waitStatus(statusBoth)
			peerfdtest.AwaitTaken(t, app)
			peerfdtest.InTime(t, "the register access", func() { end(d) })
			restore()
			take(d.irq[vectorConfig])
			next := r.dialApp()
			r.arrived(true)
			d.setUp(1)
			d.waitStatus(statusBoth)
			exchange(t, d, next)
		})
	}
}
