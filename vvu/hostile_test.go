package vvu

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// breaker breaks the device as soon as it works.
func breaker(r *rig) func(context.Context) {
	return func(ctx context.Context) {
		for ctx.Err() == nil {
			if r.fork.DriverOK() && r.fork.Connection() != 0 {
				r.fork.Break()
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// TestViolation: a front-end that breaks the protocol loses its session. vvudev
// closes its socket; with the fork it may go on, and starts with a new owner.
func TestViolation(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.expect("ending the session")
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 2)
		must(t, app.Conn.WriteMessage(vhostuser.Message{Request: vhostuser.SetVringNum, Flags: vhostuser.Version, Payload: []byte{1, 2, 3}}))
		if r.fork != nil {
			r.awaitSecondSession()
			must(t, app.Connect())
			must(t, app.Start())
		} else {
			app.Conn.SetReadDeadline(time.Now().Add(vvutest.Patience))
			if m, err := app.Conn.ReadMessage(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the socket is not closed: %v, %v", m, err)
			}
			must(t, app.Halt())
			app = r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		}
		r.exchange(app, 2)
		if n := r.logs.FilterMessage("ending the session").Len(); n != 1 {
			t.Errorf("%d sessions were ended, want 1", n)
		}
	})
}

// awaitSecondSession waits until a front-end that broke a rule, and is still there, has a session again: what it sends before the
// first has ended is thrown away with it.
func (r *rig) awaitSecondSession() {
	r.t.Helper()
	eventually(r.t, "the session of the same front-end after the violation", func() bool {
		return r.logs.FilterMessage("front-end connected").Len() == 2
	})
}

// TestMessagesAfterViolation: questions that lie in rxq behind a violation must not
// be answered to the next front-end, whose socket vvudev accepts meanwhile.
func TestMessagesAfterViolation(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.expect("ending the session")
		_, shut := r.upGated()
		first := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		shut.Store(true) // so that all of these are in rxq before the second is looked at
		for _, m := range []vhostuser.Message{
			vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: 1}),
			{Request: vhostuser.SetVringNum, Flags: vhostuser.Version, Payload: []byte{1, 2, 3}},
			vhostuser.NewRequest(vhostuser.GetQueueNum, nil),
			vhostuser.NewRequest(vhostuser.GetQueueNum, nil),
		} {
			must(t, first.Conn.WriteMessage(m))
		}
		time.Sleep(50 * time.Millisecond)
		shut.Store(false)
		if r.fork != nil { // the same front-end is still there, and must not wait for ever
			first.Conn.SetReadDeadline(time.Now().Add(vvutest.Patience))
			for _, want := range []vhostuser.Request{vhostuser.GetVringBase, vhostuser.GetQueueNum, vhostuser.GetQueueNum} {
				m, err := first.Conn.ReadMessage()
				must(t, err)
				if m.Request != want {
					t.Fatalf("reply %v, want one to %v", m, want)
				}
			}
			r.awaitSecondSession()
			must(t, first.Connect())
			return
		}
		second := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		must(t, second.Connect()) // which checks that each reply is one to its question
	})
}

// TestMoreMessagesThanBuffers: the device holds back what finds no buffer until it
// is told of one.
func TestMoreMessagesThanBuffers(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		_, shut := r.upGated()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		shut.Store(true)
		must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: 1})))
		for i := range uint32(4 * messageQueue) {
			must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Index: 1, Num: 1 << (i % 8)})))
		}
		time.Sleep(50 * time.Millisecond)
		shut.Store(false)
		m, err := app.Ask(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
		must(t, err)
		if m.Request == vhostuser.GetVringBase { // the first question's
			m, err = app.Conn.ReadMessage()
			must(t, err)
		}
		if m.Request != vhostuser.GetFeatures {
			t.Errorf("reply %v", m)
		}
	})
}

// TestFlood: messages that come faster than they are dealt with must not keep the
// driver from ending.
func TestFlood(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.up()
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	r.exchange(app, 1)
	m := vhostuser.NewRequest(vhostuser.SetOwner, nil)
	r.fork.Flood(&m)
	time.Sleep(20 * time.Millisecond)
	down := make(chan struct{})
	go func() { defer close(down); r.down() }()
	select {
	case <-down:
	case <-time.After(vvutest.Patience):
		t.Error("the driver does not end")
		r.fork.Flood(nil)
		<-down
	}
}

// TestFrontendThatNeverReads asks without end and takes no answer. That costs it its
// session, and no one else anything.
func TestFrontendThatNeverReads(t *testing.T) {
	r := newVvudevRig(t)
	r.expect("restarting the device")
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	restarted := func() bool { return r.logs.FilterMessage("restarting the device").Len() > 0 }
	for deadline := time.Now().Add(vvutest.Patience); !restarted() && time.Now().Before(deadline); {
		app.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		if app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)) != nil {
			break // the socket is closed, or full: the device does not read it any more
		}
	}
	eventually(t, "the end of the session", restarted)
	must(t, app.Halt())
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 3)
}

// TestMemoryVanishes: a front-end that shrinks its memory takes its own rings out
// of order. Neither loop nor control dies of the faults, and the next start works.
func TestMemoryVanishes(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.expect("the guest violated the ring protocol") // says the port, with the fault as the reason
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 2)

		must(t, r.ram.Resize(0)) // under the loop's hands
		app.Kick(0)
		app.Kick(1)
		eventually(t, "notice of the fault", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.faults) > 0
		})
		must(t, r.ram.Resize(vvutest.RAMSize))
		_, err := app.Stop()
		must(t, err)
		must(t, app.Start())
		r.exchange(app, 2)
		_, err = app.Stop()
		must(t, err)

		r.expect("ending the session")
		must(t, r.ram.Resize(0))                                                // while rings are being set up
		if err := app.Front.Start(); err != nil && !vhostuser.PeerClosed(err) { // vvudev may close before it is through
			t.Fatal(err)
		}
		eventually(t, "the end of the session", func() bool { return r.logs.FilterMessage("ending the session").Len() > 0 })
		if r.fork != nil {
			r.awaitSecondSession()
			must(t, app.Settle())
		} else {
			must(t, app.Halt())
			app = r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
			must(t, app.Connect())
		}
		must(t, r.ram.Resize(vvutest.RAMSize))
		must(t, app.Start())
		r.exchange(app, 2)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.faults = nil
	})
}

// TestHostileRing: a guest that breaks the rules of a ring stops that ring until it
// restarts its device, and nothing else.
func TestHostileRing(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.expect("the guest violated the ring protocol")
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 2)
		app.CorruptAvail(1)
		eventually(t, "notice of the broken ring", func() bool {
			return r.logs.FilterMessageSnippet("violated the ring protocol").Len() == 1
		})
		r.wire.Push(frame(60, 1)) // the other ring goes on
		got, err := app.Receive()
		must(t, err)
		r.same("incoming", frame(60, 1), got)
		_, err = app.Stop()
		must(t, err)
		must(t, app.Start())
		r.exchange(app, 2)
	})
}
