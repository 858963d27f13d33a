package vvu

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// upGated starts the driver with a forwarder that forwards nothing, and that is
// busy with something else while the gate is shut.
func (r *rig) upGated() (d *driver, shut *atomic.Bool) {
	r.t.Helper()
	d, shut = r.open(), new(atomic.Bool)
	stopForwarder := goRun(gatedForwarder(d.endpoint.Ports(), shut))
	stopEndpoint := goRun(func(ctx context.Context) { d.ended <- d.endpoint.Run(ctx) })
	d.stop = func() { shut.Store(false); stopEndpoint(); stopForwarder() }
	return d, shut
}

func gatedForwarder(ports []*guest.Port, shut *atomic.Bool) func(context.Context) {
	return func(ctx context.Context) {
		for _, port := range ports {
			defer port.Leave()
		}
		for ctx.Err() == nil {
			for _, port := range ports {
				if !shut.Load() && port.Changed() {
					port.Sync()
				}
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// TestStopWaitsForForwarder: GET_VRING_BASE promises that no one touches the ring
// any more, so it is answered when the forwarder has released it, not before.
func TestStopWaitsForForwarder(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		_, shut := r.upGated()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})

		shut.Store(true)
		must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: 1})))
		app.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if m, err := app.Conn.ReadMessage(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the stop is answered with %v, %v while the forwarder has the ring", m, err)
		}
		shut.Store(false)
		app.Conn.SetReadDeadline(time.Now().Add(vvutest.Patience))
		m, err := app.Conn.ReadMessage()
		must(t, err)
		var v vhostuser.VringState
		must(t, v.Decode(m.Payload))
		if m.Request != vhostuser.GetVringBase || v != (vhostuser.VringState{Index: 1}) {
			t.Errorf("answer %v: %+v", m, v)
		}
	})
}

// TestNoAccessAfterStop makes every access to the guest's memory a fault once all
// rings are stopped, and goes on sending.
func TestNoAccessAfterStop(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d := r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		for range 2 { // each waits for session.Grace
			r.exchange(app, 3)
			r.checkStop(app)
			r.pci.forbid(t)
			bells := r.pci.doorbells(d.device, 0) + r.pci.doorbells(d.device, 1)
			for i := range uint32(100) {
				r.wire.Push(frame(60, i))
			}
			app.Kick(0)
			app.Kick(1)
			eventually(t, "dropping of frames for a stopped ring", func() bool { return r.wire.Waiting() == 0 })
			if n := r.pci.doorbells(d.device, 0) + r.pci.doorbells(d.device, 1) - bells; n != 0 {
				t.Errorf("%d doorbells for stopped rings", n)
			}
			must(t, app.Start()) // the new table is mapped again
		}
		r.exchange(app, 3)
	})
}

// TestLateCall: frames may have come before the guest's notifier did. Every
// SET_VRING_CALL on a running ring therefore rings once.
func TestLateCall(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d := r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 2)
		for ring := range 2 {
			app.Interrupted(ring)
			before := r.pci.doorbells(d.device, ring)
			must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(ring)}, app.CallFD(ring))))
			must(t, app.Settle())
			if n := r.pci.doorbells(d.device, ring) - before; n != 1 {
				t.Errorf("ring %d: %d doorbells for a late call, want 1", ring, n)
			}
			if !app.Interrupted(ring) {
				t.Errorf("ring %d: the guest was not interrupted", ring)
			}
		}
		r.exchange(app, 2)
	})
}

// TestNoCallNoDoorbell: a guest that polls has no notifier, and a doorbell would
// cost an exit for nothing.
func TestNoCallNoDoorbell(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d := r.up()
		for _, style := range vhostuser.Styles() {
			app := r.run(vvutest.AppConfig{Style: style, Polls: true})
			r.exchange(app, 5)
			must(t, app.Halt())
		}
		for ring := range 2 {
			if n := r.pci.doorbells(d.device, ring); n != 0 {
				t.Errorf("ring %d: %d doorbells", ring, n)
			}
		}
	})
}
