package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// driver is the stand-in of a driver VM: it drives devices of several vvudevs with one loop.
// Behind each is a wire.
type driver struct {
	wires []*vvutest.Wire
	stop  func()
}

func startDriver(t *testing.T, devices ...*vvudev) *driver {
	t.Helper()
	d := &driver{}
	var ports []netfwd.Port
	var endpoints []*vvu.Endpoint
	for _, v := range devices {
		m := vvutest.Plug(t, v.monitor)
		dev, err := vvu.Open("0000:00:05.0", m, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		e, err := vvu.NewEndpoint(dev, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		endpoints = append(endpoints, e)
		d.wires = append(d.wires, vvutest.NewWire(t))
		ports = append(ports, e.Ports()[0], d.wires[len(d.wires)-1])
	}
	_, stopLoop := netfwdtest.Join(t, netfwd.Config{CPU: -1, IdleAfter: 50 * time.Microsecond}, ports...)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	for _, e := range endpoints {
		go func() { served <- e.Run(ctx) }()
	}
	d.stop = func() {
		cancel()
		for range endpoints {
			if err := <-served; err != nil {
				t.Errorf("endpoint: %v", err)
			}
		}
		stopLoop()
		for _, e := range endpoints {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
	return d
}

// boot starts a good app VM with a started network device.
//
// One that comes on the heels of a front-end whose session the driver ends may be cut off
// with it, and comes again, as monitors do.
func boot(v *vvudev) (app *vvutest.App, err error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if app, err = bootOnce(v); err == nil || time.Now().After(deadline) {
			return app, err
		}
	}
}

func bootOnce(v *vvudev) (*vvutest.App, error) {
	app, err := vvutest.Boot(v.ram, v.app, vvutest.AppConfig{Style: vhostuser.QEMU, Entries: 64})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(app.Connect(), app.Start()); err != nil {
		return nil, errors.Join(err, app.Halt())
	}
	return app, nil
}

// exchange sends frame k each way, which must arrive as it was.
func exchange(app *vvutest.App, wire *vvutest.Wire, k uint64) error {
	in, out := frame(2*k), frame(2*k+1)
	if err := app.Send(out); err != nil {
		return err
	}
	if got, err := wire.Pop(); err != nil || !bytes.Equal(got, out) {
		return fmt.Errorf("frame %d from the guest: %d bytes, %w", k, len(got), err)
	}
	wire.Push(in)
	if got, err := app.Receive(); err != nil || !bytes.Equal(got, in) {
		return fmt.Errorf("frame %d to the guest: %d bytes, %w", k, len(got), err)
	}
	return nil
}

// frame is like no other.
func frame(k uint64) []byte {
	b := make([]byte, 64+k*37%1400)
	for i := range b {
		b[i] = byte(uint64(i) * 7 * (k | 1))
	}
	copy(b, "\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02\x08\x00")
	binary.LittleEndian.PutUint64(b[14:], k)
	return b
}
