package vvu

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestWaitingFrontend: whatever a driver did before it went, and wherever it was, a
// front-end that is connected when the next one comes gets its answer. QEMU's device
// forgets a socket that is open if it is reset while its driver is not up; the monitor at
// the other end then waits for ever, with all of its machine.
func TestWaitingFrontend(t *testing.T) {
	// When a front-end connects, and when it sends its first message.
	const first, between, last = 0, 1, 2 // before the driver that goes, after it, after the one that comes
	for _, test := range []struct {
		name           string
		connect, sends int
		before         func(t *testing.T, r *rig) // leaves the device as a driver left it
	}{
		{"fresh device", first, first, func(*testing.T, *rig) {}},
		{"driver ended", first, between, endedUp},
		{"driver ended", between, between, endedUp},
		{"driver ended before it was up", first, first, endedDown},
		{"driver ended before it was up", between, between, endedDown},
		{"driver killed before it was up", first, first, killedDown},
		{"driver killed before it was up", between, between, killedDown},
		// What the device gives to a driver that is dead is lost.
		{"driver killed while it was up", first, last, killedUp},
		{"driver killed while it was up", between, last, killedUp},
		{"driver killed after it was up", first, between, killedAfter},
		{"driver killed after it was up", between, between, killedAfter},
		// A front-end that waits for a driver that does not get so far is forgotten with it.
		{"device refused the driver", between, between, refused},
		{"device broke", first, first, broke},
		{"device broke", between, between, broke},
	} {
		t.Run(fmt.Sprintf("%s, connects %d, sends %d", test.name, test.connect, test.sends), func(t *testing.T) {
			r := newForkRig(t, vvutest.ForkConfig{Hesitates: hesitates})
			answered := make(chan error, 1)
			var app *vvutest.App
			step := func(now int) {
				if test.connect == now {
					app = r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
					eventually(t, "the connection", r.fork.HasFrontend)
				}
				if test.sends == now {
					go func() { answered <- app.Connect() }()
				}
			}
			step(first)
			test.before(t, r)
			step(between)
			r.up()
			step(last)
			must(t, <-answered) // it has a deadline of its own
			must(t, app.Start())
			r.exchange(app, 3)
		})
	}
}

// hesitates is far longer than a driver needs from the moment in which it makes the device
// of one that is dead come up to the reset of it, see Device.reset.
const hesitates = 100 * time.Millisecond

func endedUp(t *testing.T, r *rig) {
	r.up()
	eventually(t, "the start of the driver", func() bool { return r.fork.Raised() == 1 })
	r.down()
}

func endedDown(_ *testing.T, r *rig) {
	r.open()
	r.down()
}

// kill ends a driver that never had the time to clean up; its files are closed by the
// kernel.
func (r *rig) kill() {
	unix.Close(r.driver.endpoint.wake)
	r.driver = nil
}

func killedDown(_ *testing.T, r *rig) {
	r.open()
	r.kill()
}

func killedUp(_ *testing.T, r *rig) {
	r.open().device.setUp(true)
	r.kill()
}

func killedAfter(_ *testing.T, r *rig) {
	d := r.open().device
	d.setUp(true)
	d.setUp(false)
	r.kill()
}

func refused(t *testing.T, r *rig) {
	r.fork.RefuseFeatures(true)
	if _, err := Open("0000:00:05.0", r.pci, r.alloc, session.MaxPairs); err == nil {
		t.Fatal("the device did not refuse")
	}
	r.fork.RefuseFeatures(false)
}

func broke(_ *testing.T, r *rig) {
	r.open()
	r.kill()
	r.fork.Break()
}

// TestConnectedFrontend: a front-end that was served goes on with the next driver over the
// same socket, as often as drivers come.
func TestConnectedFrontend(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.up()
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	for range 4 {
		r.exchange(app, 2)
		_, err := app.Stop()
		must(t, err)
		r.down()
		r.up()
		must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
		app.Conn.SetReadDeadline(time.Now().Add(vvutest.Patience))
		m, err := app.Conn.ReadMessage()
		must(t, err)
		if m.Request != vhostuser.GetFeatures {
			t.Fatalf("answer %v", m)
		}
		app.Conn.SetReadDeadline(time.Time{})
		must(t, app.Halt())
		app = r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	}
}
