package socket

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// pairsRig is an endpoint with all its pairs, each joined with a wire.
func pairsRig(t *testing.T, maxPairs int) (path string, wires []*vvutest.Wire) {
	t.Helper()
	e, wires := endpointRig(t, maxPairs, func(*Endpoint) {})
	return e.path, wires
}

// endpointRig is pairsRig for tests that want the endpoint, which prepare sees before it
// runs.
func endpointRig(t *testing.T, maxPairs int, prepare func(*Endpoint)) (e *Endpoint, wires []*vvutest.Wire) {
	t.Helper()
	e, err := listen(filepath.Join(t.TempDir(), "pairs.sock"), maxPairs, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	prepare(e)
	wires, stop := onWires(t, e)
	t.Cleanup(stop)
	return e, wires
}

// onWires runs an endpoint with each of its pairs joined with a wire, until it is stopped and
// closed.
func onWires(t *testing.T, e *Endpoint) (wires []*vvutest.Wire, stop func()) {
	t.Helper()
	var ports []netfwd.Port
	for _, p := range e.Ports() {
		wires = append(wires, vvutest.NewWire(t))
		ports = append(ports, p, wires[len(wires)-1])
	}
	_, stopLoop := netfwdtest.Join(t, netfwd.Config{CPU: -1, IdleAfter: 50 * time.Microsecond, OnFault: func(_ []netfwd.Port, err error) {
		t.Errorf("fault: %v", err)
	}}, ports...)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Run(ctx) }()
	return wires, func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("endpoint: %v", err)
		}
		stopLoop()
		e.Close()
	}
}

// Devices of several queue pairs, of every known front-end, one after the other; each
// pair kicks and is interrupted through descriptors of its own. Nothing is left behind.
func TestQueuePairs(t *testing.T) {
	path, wires := pairsRig(t, session.MaxPairs)
	ram := vvutest.NewRAM(t)
	before := 0
	for round := range 3 {
		for _, style := range vhostuser.Styles() {
			for _, pairs := range []int{1, 3, session.MaxPairs} {
				app, err := vvutest.Boot(ram, path, vvutest.AppConfig{Style: style, Pairs: pairs})
				if err != nil {
					t.Fatal(err)
				}
				if err := app.Connect(); err != nil {
					t.Fatal(err)
				}
				if err := app.Start(); err != nil {
					t.Fatal(err)
				}
				for pair := range pairs {
					if err := pass(app, wires[pair], pair); err != nil {
						t.Fatalf("%s, %d pairs: %v", style.Name, pairs, err)
					}
				}
				if err := app.Halt(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if round == 0 {
			time.Sleep(50 * time.Millisecond) // the last session ends
			before = openFDs(t)
			continue
		}
		noMoreFDs(t, before)
	}
}

// pass sends a frame each way over one pair.
func pass(app *vvutest.App, wire *vvutest.Wire, pair int) error {
	in, out := pattern(1200, pair), pattern(700, pair+100)
	wire.Push(in)
	if err := app.SendTo(pair, out); err != nil {
		return err
	}
	got, err := app.ReceiveFrom(pair)
	if err != nil || !bytes.Equal(got, in) {
		return fmt.Errorf("pair %d: incoming frame of %d bytes, %w", pair, len(got), err)
	}
	if got, err = wire.Pop(); err != nil || !bytes.Equal(got, out) {
		return fmt.Errorf("pair %d: outgoing frame of %d bytes, %w", pair, len(got), err)
	}
	return nil
}

// The number of pairs is what was asked for, within bounds.
func TestNumberOfPorts(t *testing.T) {
	for most, want := range map[int]int{-3: 1, 0: 1, 1: 1, 5: 5, 8: 8, 9: session.MaxPairs} {
		e := Connect("/nowhere", most, zap.NewNop())
		if got := len(e.Ports()); got != want {
			t.Errorf("%d ports of %d allowed, want %d", got, most, want)
		}
		if name := e.Ports()[want-1].Name(); want > 1 && name != fmt.Sprintf("vhost-user:/nowhere/q%d", want-1) {
			t.Errorf("the last of %d is called %q", want, name)
		}
		e.Close()
	}
}

// Descriptors for rings that are not served are closed, and those rings answered for.
func TestRingsBeyondOurs(t *testing.T) {
	path, wires := pairsRig(t, 2)
	ram := vvutest.NewRAM(t)
	app := bootApp(t, path, ram, vvutest.AppConfig{Style: vhostuser.VirtioUser, Pairs: 4})
	for ring := 4; ring < 8; ring++ {
		if at, err := app.StopRing(ring); at != 0 || err != nil {
			t.Fatalf("ring %d stands at %d, %v", ring, at, err)
		}
	}
	before := openFDs(t)
	for range 20 {
		for ring := 4; ring < 8; ring++ {
			if err := app.StartRing(ring, 7); err != nil {
				t.Fatal(err)
			}
			if at, err := app.StopRing(ring); at != 7 || err != nil {
				t.Fatalf("ring %d stands at %d, %v, want 7 as it was told", ring, at, err)
			}
		}
	}
	noMoreFDs(t, before)
	for pair := range 2 {
		if err := pass(app, wires[pair], pair); err != nil {
			t.Error(err)
		}
	}
}

// A guest is announced when its front-end asks for it, and when its address is known.
func TestAnnouncements(t *testing.T) {
	known := [6]byte{0x52, 0x54, 0, 0, 0, 1}
	e, wires := endpointRig(t, 1, func(e *Endpoint) {
		if err := e.SetAddress([6]byte{}); err == nil {
			t.Error("no address is taken for a guest's")
		}
		if err := e.SetAddress(known); err != nil {
			t.Fatal(err)
		}
	})
	app := bootApp(t, e.path, vvutest.NewRAM(t), vvutest.AppConfig{Style: vhostuser.QEMU})
	if !app.Front.Protocol().Has(vhostuser.ProtoRARP) {
		t.Error("RARP is not offered")
	}
	for _, mac := range [][6]byte{known, {0x52, 0x54, 0, 0, 0, 2}} {
		want, err := guest.NewAnnouncement(mac)
		if err != nil {
			t.Fatal(err)
		}
		if mac != known {
			if err := app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.SendRARP, vhostuser.U64(0x020000005452))); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := wires[0].Pop(); err != nil || !bytes.Equal(got, want[:]) {
			t.Fatalf("got %x, %v, want the announcement of %x", got, err, mac)
		}
	}
	if err := pass(app, wires[0], 0); err != nil {
		t.Error(err)
	}
}

// bootApp starts an app VM up to a started network device.
func bootApp(t *testing.T, path string, ram *vvutest.RAM, cfg vvutest.AppConfig) *vvutest.App {
	t.Helper()
	app, err := vvutest.Boot(ram, path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.Halt() })
	if err := app.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	return app
}
