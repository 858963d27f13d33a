package vvu

import (
	"testing"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestRingReset: a guest resets one of its rings (VIRTIO_F_RING_RESET), with buffers in it
// that no one has used, and starts it again with another size. The other rings do not notice.
func TestRingReset(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld, Pairs: 2})
		r.exchangeAll(app, 0, 2, 0)
		for i := range uint32(40) {
			ring := int(i % 4)
			r.wires[1-ring/2].Push(frame(90, i)) // over the other pair, before and after
			base, err := app.StopRing(ring)
			must(t, err)
			if want := app.Taken(ring); int(base) != want {
				t.Fatalf("ring %d stands at %d, and has given back %d", ring, base, want)
			}
			// What runs still works: the other ring of the pair, and both of the other pair.
			if ring%2 == 0 {
				must(t, app.SendTo(ring/2, frame(70, i)))
				got, err := r.wires[ring/2].Pop()
				must(t, err)
				r.same("outgoing", frame(70, i), got)
			} else {
				r.wires[ring/2].Push(frame(70, i))
				got, err := app.ReceiveFrom(ring / 2)
				must(t, err)
				r.same("incoming", frame(70, i), got)
			}
			got, err := app.ReceiveFrom(1 - ring/2)
			must(t, err)
			r.same("incoming, other pair", frame(90, i), got)
			switch {
			case ring%2 == 1:
				r.wires[ring/2].Push(frame(80, i))
				_, err := app.ReceiveFrom(ring / 2)
				must(t, err)
			case i == 0: // once: it is awaited for session.Grace
				r.wires[ring/2].Push(frame(80, i))
				eventually(t, "dropping of a frame for a ring that is reset", func() bool { return r.wires[ring/2].Waiting() == 0 })
			}

			app.Resize(ring, 8<<(i%3))
			must(t, app.Renew(ring))
			must(t, app.StartRing(ring, 0))
			must(t, app.Settle())
			app.Publish(ring)
			r.exchangeAll(app, 0, 2, i)
		}
	})
}
