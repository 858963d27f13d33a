package vvu

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestReconnect has app VMs come and go, and drivers too, in either order. VMs die
// in the middle of things: under load, and with questions unanswered.
func TestReconnect(t *testing.T) {
	const lives, sessions = 7, 4 // few enough in a life for none to be made to wait
	onBoth(t, func(t *testing.T, r *rig) {
		for life := range lives {
			cfg := vvutest.AppConfig{Style: vhostuser.QEMUOld}
			for session := range sessions {
				app := r.boot(cfg)
				connected := make(chan error, 1)
				go func() { connected <- app.Connect() }()
				if session == 0 {
					if life%2 == 0 { // the front-end is there first, and waits
						select {
						case err := <-connected:
							t.Fatalf("connected without a driver: %v", err)
						case <-time.After(10 * time.Millisecond):
						}
					}
					r.up()
				}
				must(t, <-connected)
				must(t, app.Start())
				r.exchange(app, 2)
				switch session % 3 {
				case 0: // killed
				case 1: // killed with questions under way
					for range 3 {
						must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
					}
				case 2: // killed under load
					for i := range uint32(200) {
						r.wire.Push(frame(900, i))
					}
					for i := range uint32(8) {
						must(t, app.Send(frame(900, i)))
					}
				}
				if session == sessions-1 && life%3 == 0 {
					r.down() // the driver goes first
				}
				must(t, app.Halt())
				r.drainWire()
			}
			r.down()
		}
	})
}

// drainWire forgets what is on its way from a VM that is gone, and what would be
// for the next.
func (r *rig) drainWire() {
	r.t.Helper()
	r.wire.Discard()
	if d := r.driver; d != nil {
		// A frame that waits for room in the VM's ring is given up with it.
		eventually(r.t, "the end of the session", func() bool { return r.wire.Waiting() == 0 && r.pci.mapped() == 0 })
		r.wire.Discard()
	}
}

// TestReconnectInEveryStyle goes on over a new connection as each front-end does,
// DPDK's with the end of the old session and without an owner.
func TestReconnectInEveryStyle(t *testing.T) {
	for _, style := range vhostuser.Styles() {
		t.Run(style.Name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, r *rig) {
				r.up()
				app := r.run(vvutest.AppConfig{Style: style})
				for range 2 {
					r.exchange(app, 3)
					must(t, app.Reconnect(r.path))
					must(t, app.Start())
				}
				r.exchange(app, 3)
				r.checkStop(app)
			})
		})
	}
}

// TestStaleReplies: a device that has not yet consumed what the driver answered the
// front-end before must not be made ready for the next, or that one would get it.
func TestStaleReplies(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.up()
	first := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	must(t, first.Settle())
	r.fork.HoldReplies()
	for range 3 {
		must(t, first.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
	}
	eventually(t, "three replies", func() bool { return r.fork.QueuedReplies() == 3 })
	must(t, first.Halt())
	second := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	raised := r.fork.Raised()
	time.Sleep(100 * time.Millisecond)
	if r.fork.Raised() != raised || r.fork.Connection() != 0 {
		t.Error("the device was made ready with replies to the front-end before under way")
	}
	r.fork.ReleaseReplies()
	must(t, second.Connect())
	if n := r.fork.LostReplies(); n != 3 {
		t.Errorf("%d replies went nowhere, want 3", n)
	}
	must(t, second.Start())
	r.exchange(second, 3)
}

// TestStaleMessages: what a front-end asked before it went is dealt with before the
// next one's messages, and the answers do not reach that one.
func TestStaleMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d, shut := r.upGated()
		first := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		shut.Store(true) // keeps the driver busy with the first of these
		for _, m := range []vhostuser.Message{
			vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: 1}),
			vhostuser.NewRequest(vhostuser.GetFeatures, nil),
			vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Index: 1, Num: 128}),
			vhostuser.NewRequest(vhostuser.GetQueueNum, nil),
		} {
			must(t, first.Conn.WriteMessage(m))
		}
		must(t, first.Halt())
		eventually(t, "the end of the session", func() bool { return d.device.status() == 0 })
		second := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		shut.Store(false)
		must(t, second.Connect()) // which checks that each reply is one to its question
		must(t, second.Start())
		if _, err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestLeaks: a session leaves nothing behind.
func TestLeaks(t *testing.T) {
	const sessions = 80
	inTurn(t, func(t *testing.T, r *rig) {
		fds, goroutines := 0, 0
		const warm = 8 // sessions until all that stays is there
		for i := range sessions {
			if i%8 == 0 {
				r.restart()
			}
			app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
			r.exchange(app, 1)
			must(t, app.Halt())
			r.drainWire()
			eventually(t, "readiness for the next", func() bool { return r.driver.device.status() == statusDriverUp })
			switch i {
			case warm:
				time.Sleep(20 * time.Millisecond)
				fds, goroutines = countFDs(), runtime.NumGoroutine()
			case sessions - 1:
				if n := settledGoroutines(goroutines); n > goroutines {
					t.Errorf("%d goroutines, %d before", n, goroutines)
				}
				if n := countFDs(); n > fds {
					t.Errorf("%d file descriptors, %d before", n, fds)
				}
			}
		}
	})
}

// TestMemoryIsForgotten: what the device shows after the end of a session is a
// stranger's memory.
func TestMemoryIsForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		for i := range 3 {
			app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
			r.exchange(app, 1)
			if n := r.pci.mapped(); n != len(vvutest.Regions()) {
				t.Errorf("session %d: %d regions are mapped, want %d", i, n, len(vvutest.Regions()))
			}
			must(t, app.Halt())
			eventually(t, fmt.Sprintf("unmapping after session %d", i), func() bool { return r.pci.mapped() == 0 })
		}
	})
}
