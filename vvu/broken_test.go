package vvu

import (
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// breakDevice makes the device ask for a reset: an undefined bit in the status is
// what no device stands (contract 2.1).
func (r *rig) breakDevice() {
	r.t.Helper()
	at := r.driver.device.caps.Device
	bar, err := r.pci.PCIDevice.BAR(at.BAR)
	must(r.t, err)
	bar.Store32(at.Offset+cfgStatus, 1<<5)
}

// raised counts how often the driver said that it is up.
func (r *rig) raised() (n int) {
	for _, a := range r.pci.within(r.driver.device.caps.Device) {
		if a.write && a.off == cfgStatus && a.value == uint64(statusDriverUp) {
			n++
		}
	}
	return n
}

// restarts does what breaks the device and waits until it works again. What a
// front-end sends before may be lost with the broken device.
func (r *rig) restarts(breakIt func()) {
	r.t.Helper()
	eventually(r.t, "the start of the driver", func() bool { return r.raised() > 0 })
	restarts := r.logs.FilterMessage("restarting the device").Len()
	raised := r.raised()
	breakIt()
	eventually(r.t, "the restart of the device", func() bool { return r.raised() > raised })
	if n := r.logs.FilterMessage("restarting the device").Len() - restarts; n != 1 {
		r.t.Errorf("the device was restarted %d times, want once", n)
	}
}

// TestBrokenDevice: a device that asks for a reset gets one, and works again.
func TestBrokenDevice(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.expect("restarting the device")
		r.up()
		r.restarts(r.breakDevice) // while no one is there
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 3)
		for range 3 {
			r.restarts(r.breakDevice)
			if r.fork != nil {
				// The front-end has noticed nothing; its guest restarts its device.
				_, err := app.Stop()
				must(t, err)
				must(t, app.Start())
			} else {
				must(t, app.Halt())
				app = r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
			}
			r.exchange(app, 3)
		}
	})
}

// TestBrokenRing: a device that completes what was never offered is restarted.
func TestBrokenRing(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.expect("restarting the device")
	r.up()
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	for range 3 {
		r.exchange(app, 2)
		r.restarts(r.fork.BreakRing)
		_, err := app.Stop()
		must(t, err)
		must(t, app.Start())
	}
	r.exchange(app, 2)
}

// TestDeviceThatStaysBroken is restarted again and again, but not as fast as the
// driver can, and does not keep the driver from ending.
func TestDeviceThatStaysBroken(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.expect("restarting the device")
	began := time.Now()
	d := r.up()
	stop := goRun(breaker(r))
	restarts := func() int { return r.logs.FilterMessage("restarting the device").Len() }
	eventually(t, "restarts", func() bool { return restarts() > backoffFree })
	time.Sleep(200 * time.Millisecond)
	stop()
	if n, most := restarts(), possibleEvents(began); n > most {
		t.Errorf("the device was restarted %d times within %v, at most %d are possible", n, time.Since(began), most)
	}
	eventually(t, "the last restart", func() bool { return r.fork.DriverOK() && d.device.status() == statusDriverUp })
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 2)
}

// TestDeviceThatDoesNotComeBack at once: a restart that fails is tried again, and a
// device that was not started is not said to be up.
func TestDeviceThatDoesNotComeBack(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.expect("restarting the device")
	r.up()
	eventually(t, "the start of the driver", func() bool { return r.fork.Raised() == 1 })
	r.fork.RefuseFeatures(true)
	r.fork.Break()
	eventually(t, "several restarts", func() bool { return r.logs.FilterMessage("restarting the device").Len() > 3 })
	if n := r.fork.Raised(); n != 1 {
		t.Errorf("a device that cannot start was said to be up %d times", n-1)
	}
	r.fork.RefuseFeatures(false)
	// A message that the fork has taken from a front-end when it is reset is lost, so none is sent before.
	eventually(t, "the start of the driver that succeeds", func() bool { return r.fork.Raised() == 2 })
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	r.exchange(app, 2)

	// So is one that refuses a vector after a session.
	r.fork.RefuseVectors(true)
	restarts := r.logs.FilterMessage("restarting the device").Len()
	must(t, app.Halt())
	eventually(t, "several restarts", func() bool { return r.logs.FilterMessage("restarting the device").Len() > restarts+3 })
	r.fork.RefuseVectors(false)
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 2)
}

// TestRepliesThatStay: a device that does not consume the replies to a front-end
// that is gone is restarted, for they would reach the next.
func TestRepliesThatStay(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.expect("restarting the device")
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	must(t, app.Settle())
	r.fork.HoldReplies()
	must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
	eventually(t, "the reply", func() bool { return r.fork.QueuedReplies() == 1 })
	must(t, app.Halt())
	next := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	eventually(t, "the restart", func() bool { return r.logs.FilterMessage("restarting the device").Len() == 1 })
	r.fork.ReleaseReplies()
	must(t, next.Connect())
	must(t, next.Start())
	r.exchange(next, 2)
}
