package vvu

import (
	"errors"
	"testing"
	"time"

	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestDeviceThatIsGone: the program that provides the device ends, before a front-end
// comes, while one is idle, or under load. The endpoint says so and ends; it restarts
// nothing, blames no one and leaves the device alone, for each access to it is an error
// that the driver VM's monitor writes to its log.
func TestDeviceThatIsGone(t *testing.T) {
	for _, when := range []string{"without a front-end", "idle", "under load", "broken"} {
		t.Run(when, func(t *testing.T) {
			onBoth(t, func(t *testing.T, r *rig) {
				d := r.up()
				eventually(t, "the start of the driver", func() bool { return r.raised() > 0 })
				var app *vvutest.App
				if when != "without a front-end" {
					app = r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
					r.exchange(app, 3)
				}
				if when == "broken" {
					r.expect("restarting the device")
					r.breakDevice()
				}
				r.pci.forget()
				r.pci.vanish()
				if when == "under load" {
					for i := range uint32(100) {
						r.wire.Push(frame(90, i))
					}
				}
				select {
				case err := <-d.ended:
					if !errors.Is(err, virtiopci.ErrAbsent) {
						t.Errorf("it ended with %v, want one that says that the device is absent", err)
					}
				case <-time.After(vvutest.Patience):
					t.Fatal("the driver has not noticed")
				}
				if n := r.logs.FilterMessage("restarting the device").Len(); n > 1 || n > 0 && when != "broken" {
					t.Errorf("the device was restarted %d times", n)
				}
				for _, g := range d.endpoint.Ports() {
					if g.State() != 0 {
						t.Errorf("%s still has rings", g.Name())
					}
				}
				if n := r.pci.mapped(); n != 0 {
					t.Errorf("%d mappings of guest memory are left", n)
				}
				d.stop()
				d.stop = func() {}
				must(t, d.endpoint.Close())
				r.driver = nil
				accesses := 0
				for _, a := range r.pci.accesses() {
					if a.bar != d.device.caps.Doorbell.BAR { // these are the loop's
						accesses++
					}
				}
				if accesses > 16 {
					t.Errorf("%d accesses to a device that is gone", accesses)
				}
			})
		})
	}
}

// TestOpenDeviceThatIsGone: at once, and with the reason.
func TestOpenDeviceThatIsGone(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.pci.vanish()
	began := time.Now()
	if _, err := Open("0000:00:05.0", r.pci, r.alloc, session.MaxPairs); !errors.Is(err, virtiopci.ErrAbsent) {
		t.Errorf("got %v", err)
	}
	if waited := time.Since(began); waited > 2*time.Second {
		t.Errorf("it took %v to find out", waited)
	}
}
