package socket

import (
	"errors"
	"slices"
	"testing"
	"time"

	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// A front-end starts its rings long before it enables them, with frames in them. They
// wait; only if it does not come to it are they discarded, and the buffers come back.
func TestFramesWaitForEnable(t *testing.T) {
	r := newRig(t)
	a, b := apps(t, r, vvutest.AllFeatures, 0)
	const n = 64
	restart := func() {
		t.Helper()
		for _, step := range []func() error{
			func() error { return a.Enable(1, false) },
			func() error { base, err := a.StopRing(1); return errors.Join(err, a.StartRing(1, base)) },
			a.Settle,
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	send := func(first int) {
		t.Helper()
		for i := range n {
			if err := a.Send(numbered(first + i)); err != nil {
				t.Fatal(err)
			}
		}
		a.Kick(1)
	}
	restart()
	send(0)
	time.Sleep(session.Grace / 6) // as slow as monitors can be
	if err := a.Enable(1, true); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got, err := b.Receive(); err != nil || number(got) != i {
			t.Fatalf("frame %d: %v, %v", i, got, err)
		}
	}
	restart()
	send(n)
	if err := a.Sent(); err != nil {
		t.Fatalf("what no one enables does not come back: %v", err)
	}
	if got, err := b.TryReceive(); got != nil || err != nil {
		t.Errorf("a frame of a ring that was disabled arrived: %v, %v", got, err)
	}
	if err := errors.Join(a.Enable(1, true), a.Settle()); err != nil {
		t.Fatal(err)
	}
	send(2 * n)
	if got, err := b.Receive(); err != nil || number(got) != 2*n {
		t.Fatalf("after that: %v, %v", got, err)
	}
}

// Frames wait for a guest whose monitor pauses it, by stopping its rings or by disabling
// them, and are dropped if it does not come back.
func TestFramesWaitForAPausedGuest(t *testing.T) {
	r := newRig(t)
	a, b := apps(t, r, vvutest.AllFeatures, 0)
	pauses := map[string]func() error{
		"stopped":  func() error { _, err := b.StopRing(0); return err },
		"disabled": func() error { return errors.Join(b.Enable(0, false), b.Settle()) },
	}
	next := 0
	for name, pause := range pauses {
		base := uint32(b.Taken(0))
		if err := pause(); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if err := a.Send(numbered(next + i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(session.Grace / 10)
		if name == "stopped" {
			if err := b.StartRing(0, base); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Enable(0, true); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if got, err := b.Receive(); err != nil || number(got) != next+i {
				t.Fatalf("%s, frame %d: %v, %v", name, i, got, err)
			}
		}
		next += 20
	}
	if _, err := b.StopRing(0); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(numbered(0)); err != nil {
		t.Fatal(err)
	}
	if err := a.Sent(); err != nil {
		t.Errorf("a frame waits for ever for a guest that does not come back: %v", err)
	}
}

// A front-end that gives no kick descriptors is looked at all the time, as it asks.
func TestRingsWithoutKickArePolled(t *testing.T) {
	r := newRig(t)
	var ends [2]*vvutest.App
	for i := range ends {
		ends[i] = bootApp(t, r.paths[i], vvutest.NewRAM(t), vvutest.AppConfig{
			Style: vhostuser.CloudHypervisor, Entries: 256, RxBuffers: 1, NoKicks: true,
		})
	}
	const rounds, backstop = 40, 100 * time.Millisecond
	var took []time.Duration
	for i := range rounds {
		time.Sleep(3 * time.Millisecond) // the loop is asleep by now
		began := time.Now()
		for k := range 2 { // the second finds no room until the first is received
			if err := ends[0].Send(numbered(2*i + k)); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 2 {
			if got, err := ends[1].Receive(); err != nil || number(got) != 2*i+k {
				t.Fatalf("round %d: %v, %v", i, got, err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took) // a busy machine may be late, but not each time; who is not polled waits twice for each round
	if took[rounds/4] > backstop/2 {
		t.Errorf("rounds waited for the backstop: %v", took)
	}
}
