package vvu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// frame makes a frame of n bytes that differ from every other's.
func frame(n int, seed uint32) []byte {
	f := make([]byte, n)
	for i := range f {
		f[i] = byte(uint32(i)*31 + seed*7)
	}
	binary.LittleEndian.PutUint32(f[14:], seed)
	return f
}

// exchange sends frames of several sizes both ways, in bursts, and compares what
// arrives.
func (r *rig) exchange(app *vvutest.App, bursts int) {
	r.t.Helper()
	sizes := []int{60, 1514, 200, 61, 1000, 64}
	seed := uint32(0)
	for burst := range bursts {
		var out, in [][]byte
		for _, n := range sizes[:1+burst%len(sizes)] {
			seed++
			out, in = append(out, frame(n, seed)), append(in, frame(n, ^seed))
		}
		r.wire.Push(in...)
		for _, f := range out {
			must(r.t, app.Send(f))
		}
		for i := range out {
			got, err := r.wire.Pop()
			must(r.t, err)
			r.same("outgoing", out[i], got)
			got, err = app.Receive()
			must(r.t, err)
			r.same("incoming", in[i], got)
		}
	}
	must(r.t, app.Sent())
}

func (r *rig) same(what string, want, got []byte) {
	r.t.Helper()
	if !bytes.Equal(want, got) {
		r.t.Fatalf("%s frame differs: want %d bytes %.24x, got %d bytes %.24x", what, len(want), want, len(got), got)
	}
}

// TestFrontends starts a device in the way of every known front-end, with every
// form of ring, and again after a stop.
func TestFrontends(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		for _, style := range vhostuser.Styles() {
			for _, without := range []virtio.Features{0, virtio.EventIdx, virtio.NetMrgRxbuf, virtio.EventIdx | virtio.NetMrgRxbuf | virtio.IndirectDesc} {
				t.Run(fmt.Sprintf("%s without %v", style.Name, without), func(t *testing.T) {
					r.restart() // forgives the bounces of the front-ends before
					features := vvutest.AllFeatures &^ without
					cfg := vvutest.AppConfig{Style: style, Features: features}
					if features.Has(virtio.NetMrgRxbuf) {
						cfg.RxBuffer = 256 // a large frame spans several
					}
					outer := r.t
					r.t = t
					defer func() { r.t = outer }()
					app := r.boot(cfg)
					must(t, app.Connect())
					for range 2 {
						must(t, app.Start())
						r.exchange(app, 12)
						r.checkStop(app)
					}
				})
			}
		}
	})
}

// restart is a new life of the driver.
func (r *rig) restart() {
	r.t.Helper()
	r.down()
	r.up()
}

// checkStop stops a device whose frames are all done, and compares positions.
func (r *rig) checkStop(app *vvutest.App) {
	r.t.Helper()
	bases, err := app.Stop()
	must(r.t, err)
	for ring, base := range bases {
		if want := app.Done(ring); want == 0 || int(base) != want {
			r.t.Errorf("ring %d stopped at %d, want %d", ring, base, want)
		}
	}
}

// TestDoorbellFollowsUsedEvent: with EVENT_IDX the guest must be interrupted each
// time that it sleeps, not just the first. DPDK's transport did not, which made the
// 2021 demo one-way. One doorbell for each sleep, none for what follows before the
// guest asks again.
func TestDoorbellFollowsUsedEvent(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d := r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.exchange(app, 1)
		for i := range uint32(100) {
			must(t, app.FallAsleep(0))
			before := r.pci.doorbells(d.device, 0)
			r.wire.Push(frame(60, i))
			must(t, app.AwaitInterrupt(0))
			r.wire.Push(frame(60, ^i), frame(70, ^i))
			eventually(t, "forwarding of all frames", func() bool { return r.wire.Waiting() == 0 })
			for _, want := range [][]byte{frame(60, i), frame(60, ^i), frame(70, ^i)} {
				got, err := app.Receive()
				must(t, err)
				r.same("incoming", want, got)
			}
			if n := r.pci.doorbells(d.device, 0) - before; n != 1 {
				t.Fatalf("round %d: %d doorbells for a guest that slept once for frames", i, n)
			}

			must(t, app.FallAsleep(1))
			before = r.pci.doorbells(d.device, 1)
			must(t, app.Send(frame(60, i)))
			must(t, app.AwaitInterrupt(1))
			must(t, app.Send(frame(70, i)))
			for _, want := range [][]byte{frame(60, i), frame(70, i)} {
				got, err := r.wire.Pop()
				must(t, err)
				r.same("outgoing", want, got)
			}
			eventually(t, "completion of all frames", func() bool { return app.Completed(1) })
			if n := r.pci.doorbells(d.device, 1) - before; n != 1 {
				t.Fatalf("round %d: %d doorbells for a guest that slept once for completions", i, n)
			}
		}
	})
}
