package vvu

import (
	"context"
	"testing"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestLink: with vvudev's device a front-end loses its connection with the link, and gets
// none while it is down.
func TestLink(t *testing.T) {
	r := newVvudevRig(t)
	d := r.up()
	for round := range 5 {
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMU})
		r.exchange(app, 2)
		d.endpoint.SetLink(true) // is so
		r.exchange(app, 2)
		d.endpoint.SetLink(false)
		vvutest.AwaitClose(t, app.Conn)
		must(t, app.Halt())
		for range 3 {
			c, err := vhostuser.Dial(r.path)
			must(t, err)
			vvutest.AwaitClose(t, c)
			c.Close()
		}
		if round == 2 { // a driver that starts with a link that is down
			r.down()
			d = r.open()
			d.endpoint.SetLink(false)
			stop := goRun(func(ctx context.Context) { d.ended <- d.endpoint.Run(ctx) })
			eventually(t, "word of the link", func() bool { return r.logs.FilterMessage("link of the guest changed").Len() == 6 })
			c, err := vhostuser.Dial(r.path)
			must(t, err)
			vvutest.AwaitClose(t, c)
			c.Close()
			stop()
			r.restart()
			d = r.driver
			continue
		}
		d.endpoint.SetLink(true)
		eventually(t, "link up", func() bool { // the device knows some time later
			all := r.deviceLogs.FilterMessage("the driver sets the link of the front-end's device").All()
			return len(all) > 0 && all[len(all)-1].ContextMap()["up"] == true
		})
	}
}

// TestLinkWithQEMUsDevice: nothing would come of taking the driver down, because the
// front-end notices nothing. So the session goes on.
func TestLinkWithQEMUsDevice(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	d := r.up()
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	r.exchange(app, 2)
	d.endpoint.SetLink(false)
	eventually(t, "the warning", func() bool {
		return r.logs.FilterMessageSnippet("cannot tell the front-end that the link changed").Len() == 1
	})
	r.exchange(app, 2)
}
