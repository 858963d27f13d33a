package shadow_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu"
	"vvufwd/vvu/device"
	"vvufwd/vvu/session"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vvutest"
)

// rig is what vvudev --shadow is made of: a device, its shadow region and a socket for the app VM,
// with a loop between.
type rig struct {
	t            *testing.T
	dir          string
	monitor, app string // sockets
	logs         *observer.ObservedLogs
	memory       *shadow.Memory
	shadow       *shadow.Shadow
	dev          *device.Device
	endpoint     *socket.Endpoint
	balancer     *netfwd.Balancer
	ram          *vvutest.RAM
}

type rigConfig struct {
	pairs  int // 1 if 0
	packed bool
	size   uint64 // of the region; what it needs if 0
	polls  bool   // the loop never sleeps
	grace  time.Duration
}

func newRig(t *testing.T, cfg rigConfig) *rig {
	t.Helper()
	cfg.pairs = max(cfg.pairs, 1)
	if cfg.size == 0 {
		cfg.size = shadow.Need(cfg.pairs)
	}
	r := &rig{t: t, dir: t.TempDir(), ram: vvutest.NewRAM(t)}
	r.monitor, r.app = filepath.Join(r.dir, "m"), filepath.Join(r.dir, "a")
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	r.logs = logs
	var err error
	r.memory, err = shadow.NewMemory(cfg.size)
	must(t, err)
	file, err := r.memory.Dup()
	must(t, err)
	ram, err := device.AdoptRAM("shadow", file)
	must(t, err)
	r.dev, err = device.New(device.Config{RAM: ram, Queues: session.Rings(cfg.pairs), Log: log, OnLink: func() { r.endpoint.SetLink(!r.dev.LinkDown()) }})
	must(t, err)
	inside := r.dev.Inside()
	r.shadow, err = shadow.New(shadow.Config{Name: "shadow", Memory: r.memory, Pairs: cfg.pairs, Packed: cfg.packed, Grace: cfg.grace, Connect: inside.Connect, Log: log})
	must(t, err)
	r.endpoint = socket.Listen(listen(t, r.app), cfg.pairs, log)
	r.endpoint.Watch(func(f socket.Frontend) { r.shadow.SetFrontend(shadow.Frontend(f)) })

	link := netfwd.Link{{}, {Spread: r.shadow.Spread}}
	for _, p := range r.endpoint.Ports() {
		link[0].Queues = append(link[0].Queues, p)
	}
	for _, p := range r.shadow.Ports() {
		link[1].Queues = append(link[1].Queues, p)
	}
	idleAfter := 50 * time.Microsecond
	if cfg.polls {
		idleAfter = -1
	}
	var stopLoop func()
	r.balancer, stopLoop = netfwdtest.Run(t, []netfwd.Link{link}, []netfwd.Config{{
		CPU: -1, IdleAfter: idleAfter, OnFault: func(_ []netfwd.Port, err error) { t.Errorf("the loop met a fault: %v", err) },
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var servers sync.WaitGroup
	monitor := listen(t, r.monitor)
	for name, serve := range map[string]func() error{
		"monitor":  func() error { return vfiouser.NewServer(r.dev, zap.NewNop()).Serve(ctx, monitor) },
		"endpoint": func() error { return r.endpoint.Run(ctx) },
		"shadow":   func() error { return r.shadow.Run(ctx) },
	} {
		servers.Go(func() {
			if err := serve(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		servers.Wait()
		stopLoop()
		inside.Close()
		for _, close := range []func() error{r.endpoint.Close, r.dev.Close, ram.Close, r.memory.Close} {
			must(t, close())
		}
		if t.Failed() {
			for _, e := range logs.All() {
				t.Log(e.Message, e.ContextMap())
			}
		}
	})
	return r
}

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what another goroutine makes true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(vvutest.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, vvutest.Patience)
		}
	}
}

// driverVM is a driver VM in which vvufwd's driver serves the device, with a wire behind each queue
// pair.
type driverVM struct {
	monitor  *vvutest.Monitor
	device   *vvu.Device
	endpoint *vvu.Endpoint
	wires    []*vvutest.Wire
	balancer *netfwd.Balancer
	logs     *observer.ObservedLogs
	stop     func()
}

// drive starts one. stop ends it, and is called at the end of the test at the latest.
func (r *rig) drive() *driverVM { r.t.Helper(); return r.driveWith(session.MaxPairs) }

// driveWith is drive with so many queue pairs at most.
func (r *rig) driveWith(pairs int) *driverVM {
	r.t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	d := &driverVM{monitor: vvutest.Plug(r.t, r.monitor), logs: logs}
	var err error
	d.device, err = vvu.Open("0000:00:05.0", d.monitor, d.monitor, pairs)
	must(r.t, err)
	d.endpoint, err = vvu.NewEndpoint(d.device, zap.New(core))
	must(r.t, err)
	var ports []netfwd.Port
	for _, p := range d.endpoint.Ports() {
		w := vvutest.NewWire(r.t)
		d.wires = append(d.wires, w)
		ports = append(ports, p, w)
	}
	var stopLoop func()
	d.balancer, stopLoop = netfwdtest.Join(r.t, netfwd.Config{
		CPU: -1, IdleAfter: 50 * time.Microsecond, OnFault: func(_ []netfwd.Port, err error) { r.t.Errorf("the driver VM's loop met a fault: %v", err) },
	}, ports...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.endpoint.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the driver VM's endpoint: %v", err)
		}
		stopLoop()
		if err := d.endpoint.Close(); err != nil {
			r.t.Errorf("the driver VM's device: %v", err)
		}
		d.monitor.Unplug()
		if r.t.Failed() {
			for _, e := range logs.All() {
				r.t.Log("driver VM: ", e.Message, e.ContextMap())
			}
		}
	})
	r.t.Cleanup(d.stop)
	return d
}

// boot starts an app VM with a network device that runs.
func (r *rig) boot(cfg vvutest.AppConfig) *vvutest.App {
	r.t.Helper()
	app, err := vvutest.Boot(r.ram, r.app, cfg)
	must(r.t, err)
	r.t.Cleanup(func() { app.Halt() })
	must(r.t, app.Connect())
	must(r.t, app.Start())
	return app
}

// served waits until the driver VM serves the app VM.
func (r *rig) served(d *driverVM) {
	r.t.Helper()
	eventually(r.t, "a session with the driver VM", func() bool {
		return r.shadow.Ports()[0].State() != 0 && d.endpoint.Ports()[0].State() != 0
	})
}

// exchange sends a frame each way, which must arrive as they were.
func exchange(t *testing.T, app *vvutest.App, d *driverVM, k int) {
	t.Helper()
	in, out := frame(2*k), frame(2*k+1)
	must(t, app.Send(out))
	got, err := d.wires[0].Pop()
	must(t, err)
	if !bytes.Equal(got, out) {
		t.Fatalf("frame %d from the app VM differs: % x…", k, got[:min(len(got), 32)])
	}
	d.wires[0].Push(in)
	got, err = app.Receive()
	must(t, err)
	if !bytes.Equal(got, in) {
		t.Fatalf("frame %d to the app VM differs: % x…", k, got[:min(len(got), 32)])
	}
}

// frame is like no other.
func frame(k int) []byte {
	b := make([]byte, 64+k*37%1400)
	for i := range b {
		b[i] = byte(i * 7 * (k | 1))
	}
	copy(b, "\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02\x08\x00")
	binary.LittleEndian.PutUint64(b[14:], uint64(k))
	return b
}
