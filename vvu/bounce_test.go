package vvu

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// bounced is a message that the fork does not know: it drops the session, and the
// front-end notices nothing.
var bounced = vhostuser.NewRequest(vhostuser.SetVringErr, vhostuser.VringFD{NoFD: true})

// TestBouncesWhileConnecting: QEMU since 7 sends message 14 for each ring. The
// device drops the session twice, the driver comes back, and what was negotiated
// is still known.
func TestBouncesWhileConnecting(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU})
	must(t, app.Connect())
	must(t, app.Settle())
	if n := r.fork.Raised(); n != 3 {
		t.Errorf("the driver came up %d times, want 3: at first, and after each of two messages 14", n)
	}
	must(t, app.Start())
	r.exchange(app, 6)
	if n := r.fork.Raised(); n != 3 {
		t.Errorf("the driver came up %d times, the start of the rings is no reason for it", n)
	}
	r.checkStop(app)
}

// TestBounceWhileRunning takes the kicks, calls and vectors of running rings away.
// When the guest starts its device again all is well, and positions were kept.
func TestBounceWhileRunning(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.up()
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	for range 3 {
		r.exchange(app, 4)
		must(t, app.Conn.WriteMessage(bounced))
		must(t, app.Settle())
		for ring := range 2 {
			if r.fork.HasKick(ring) {
				t.Fatalf("the device still has the kick of ring %d", ring)
			}
			if v := r.fork.RingVector(ring); v != vectorFirstKick+uint16(ring) {
				t.Errorf("kicks of ring %d go to vector %d after a bounce", ring, v)
			}
		}
		if n := r.pci.mapped(); n != 0 {
			t.Errorf("%d regions are mapped after a bounce", n)
		}
		r.checkStop(app)
		must(t, app.Start())
	}
	r.exchange(app, 4)
}

// TestDisconnectedMeansDone: once it is said that a front-end is gone, nothing of its memory is used any more, for then a new app
// VM may get the same file, emptied. What the old one's rings seem to say in between was called the guest's violation.
func TestDisconnectedMeansDone(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		mapped := make(chan int, 1)
		r.log = r.log.WithOptions(zap.Hooks(func(e zapcore.Entry) error {
			if e.Message == "front-end disconnected" {
				select {
				case mapped <- r.pci.mapped():
				default: // the first is enough
				}
			}
			return nil
		}))
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}) // which the fork's device does not drop while it connects
		r.exchange(app, 4)
		if r.pci.mapped() == 0 {
			t.Fatal("no region is mapped while frames pass")
		}
		must(t, app.Conn.Close())
		select {
		case n := <-mapped:
			if n != 0 {
				t.Errorf("%d regions are mapped when the front-end is said to be gone", n)
			}
		case <-time.After(time.Minute):
			t.Error("no word that the front-end is gone")
		}
	})
}

// TestKicksAfterBounce: the vectors that a bounce cost are set again, so that a
// kick wakes a sleeping loop at once and not by its own timer.
func TestKicksAfterBounce(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.upGated() // its forwarder leaves the eventfds alone
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	must(t, app.Conn.WriteMessage(bounced))
	_, err := app.Stop()
	must(t, err)
	must(t, app.Start())
	for ring := range 2 {
		app.Kick(ring)
		awaitVector(t, r, "kicks", vectorFirstKick+ring)
	}
}

// TestEndlessBounces: a front-end that bounces for ever is answered more and more
// slowly, and does not keep the driver from ending.
func TestEndlessBounces(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	began := time.Now()
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU})
	for range 40 {
		must(t, app.Conn.WriteMessage(bounced))
	}
	eventually(t, "coming back at once, a few times", func() bool { return r.fork.Raised() > backoffFree })
	time.Sleep(200 * time.Millisecond)
	if n, most := r.fork.Raised(), 1+possibleEvents(began); n > most {
		t.Errorf("the driver came up %d times within %v, at most %d are possible", n, time.Since(began), most)
	}
}

// possibleEvents is how many events a backoff lets happen after the given time: the
// free ones, and then as many as doubling waits allow.
func possibleEvents(since time.Time) int {
	n := backoffFree
	elapsed := time.Since(since)
	for wait := backoffFirst; elapsed >= wait; wait = min(2*wait, backoffMost) {
		elapsed -= wait
		n++
	}
	return n + 1 // the last has not waited yet
}
