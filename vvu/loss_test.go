package vvu

import (
	"fmt"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// Frames wait for room, of the VM and for it, while its front-end says something. All
// arrive, in their order.
func TestNothingIsLostWhenAFrontendDisturbs(t *testing.T) {
	const n = 100
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		for name, features := range map[string]virtio.Features{
			"split": vvutest.AllFeatures, "packed, in order": vvutest.AllFeatures | virtio.RingPacked | virtio.InOrder,
		} {
			r.restart() // forgives the bounces of the front-ends before
			app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld, Features: features, Entries: 256, RxBuffers: 8})
			seed := uint32(0)
			for _, d := range vvutest.Disturbances() {
				if !app.Front.Protocol().Has(d.Needs) {
					continue
				}
				if r.fork != nil && d.Name == "SET_MEM_TABLE" {
					continue // the device moves memory under the driver's hands (contract, section 5)
				}
				what := fmt.Sprintf("%s, %s", name, d.Name)
				taken := app.Taken(0)
				r.wire.Narrow(8)
				for i := range uint32(n) {
					must(t, app.Send(frame(60+int(i)%900, seed+i)))
					r.wire.Push(frame(60+int(i)%900, ^(seed + i)))
				}
				eventually(t, what+": a frame arrives", func() bool { return app.Taken(0) > taken })
				for range 3 {
					must(t, app.Disturb(d))
				}
				r.wire.Narrow(-1)
				for i := range uint32(n) {
					got, err := r.wire.Pop()
					if err != nil {
						t.Fatalf("%s: after %d frames of the VM: %v", what, i, err)
					}
					r.same(what+": outgoing", frame(60+int(i)%900, seed+i), got)
					if got, err = app.Receive(); err != nil {
						t.Fatalf("%s: after %d frames for the VM: %v", what, i, err)
					}
					r.same(what+": incoming", frame(60+int(i)%900, ^(seed+i)), got)
				}
				must(t, app.Sent())
				seed += n
			}
			must(t, app.Halt())
		}
	})
}

// A front-end that gives no kick descriptors is polled, through the device as well. Once no one awaits rings
// any more a loop that does not poll sleeps for ever: no clock has to tell the two apart.
func TestRingsWithoutKickArePolled(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld, NoKicks: true})
		for i, began := uint32(0), time.Now(); time.Since(began) < session.Grace+time.Second; i++ {
			must(t, app.Send(frame(60, i)))
			got, err := r.wire.Pop()
			must(t, err)
			r.same("outgoing", frame(60, i), got)
			time.Sleep(100 * time.Millisecond) // the loop is asleep by now
		}
	})
}
