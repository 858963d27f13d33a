package vvu

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu/device"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vvutest"
)

// rig is a device, the driver, a forwarding loop and the wires at its other end, one for
// each queue pair.
// App VMs are booted on its memory.
type rig struct {
	t     *testing.T
	pci   *recorder
	alloc Allocator
	fork  *vvutest.Fork // nil: the device is vvudev's
	ram   *vvutest.RAM
	path  string          // of the device's socket
	wire  *vvutest.Wire   // of the first queue pair
	wires []*vvutest.Wire // of all that there can be
	log   *zap.Logger
	logs  *observer.ObservedLogs

	deviceLogs *observer.ObservedLogs // vvudev's

	driver *driver // nil while it is down

	address [6]byte // of the guest, if the driver is to know it

	mu       sync.Mutex
	expected []string // parts of error messages that are no surprise
	faults   []error  // caught by the loop
}

// driver is one life of the driver's process.
type driver struct {
	device   *Device
	endpoint *Endpoint
	balancer *netfwd.Balancer
	stop     func()     // ends all goroutines
	ended    chan error // what Run returned

	stopEndpoint func() // ends Run alone
}

// onBoth runs a test with the fork's device and with vvudev's, both at once: most of what
// they do is wait.
func onBoth(t *testing.T, test func(*testing.T, *rig)) {
	onEach(t, func(t *testing.T) { t.Parallel() }, test)
}

// inTurn is onBoth for a test that looks at the whole process: one device after the other.
func inTurn(t *testing.T, test func(*testing.T, *rig)) { onEach(t, func(*testing.T) {}, test) }

func onEach(t *testing.T, begin func(*testing.T), test func(*testing.T, *rig)) {
	t.Run("fork", func(t *testing.T) { begin(t); test(t, newForkRig(t, vvutest.ForkConfig{})) })
	t.Run("vvudev", func(t *testing.T) { begin(t); test(t, newVvudevRig(t)) })
}

func newRig(t *testing.T) *rig {
	core, logs := observer.New(zapcore.InfoLevel)
	r := &rig{t: t, ram: vvutest.NewRAM(t), log: zap.New(core), logs: logs}
	for range session.MaxPairs {
		r.wires = append(r.wires, vvutest.NewWire(t))
	}
	r.wire = r.wires[0]
	t.Cleanup(func() {
		r.down()
		r.checkLogs()
		if t.Failed() {
			for _, e := range r.logs.All() {
				t.Logf("%v %s %s %v", e.Time.Format("05.000000"), e.Level, e.Message, e.ContextMap())
			}
		}
	})
	return r
}

func newForkRig(t *testing.T, cfg vvutest.ForkConfig) *rig {
	fork := vvutest.NewFork(t, cfg)
	r := newRig(t)
	r.fork, r.pci, r.alloc, r.path = fork, newRecorder(fork), fork, fork.Path()
	return r
}

// vvudevPairs is how many queue pairs the device of newVvudevRig can connect, with a
// control queue.
const vvudevPairs = 5

// newVvudevRig has the device that vvudev serves, behind its vfio-user socket.
func newVvudevRig(t *testing.T) *rig {
	dir := t.TempDir()
	ram := vvutest.NewRAM(t)
	core, logs := observer.New(zapcore.InfoLevel)
	file, err := device.OpenRAM(ram.Path())
	must(t, err)
	dev, err := device.New(device.Config{RAM: file, Queues: session.Rings(vvudevPairs), Log: zap.New(core)})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var servers sync.WaitGroup
	listen := func(name string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		must(t, err)
		return l
	}
	monitor, app := listen("monitor"), listen("app")
	for _, serve := range []func() error{
		func() error { return vfiouser.NewServer(dev, zap.NewNop()).Serve(ctx, monitor) },
		func() error { return dev.ServeFrontends(ctx, app) },
	} {
		servers.Go(func() {
			if err := serve(); err != nil {
				t.Errorf("vvudev: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		servers.Wait()
		dev.Close()
		file.Close()
	})
	m := vvutest.Plug(t, filepath.Join(dir, "monitor"))
	r := newRig(t)
	r.deviceLogs = logs
	r.ram, r.pci, r.alloc, r.path = ram, newRecorder(m), m, filepath.Join(dir, "app")
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect says that errors with this text are part of the test.
func (r *rig) expect(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = append(r.expected, text)
}

// checkLogs fails the test for each error that it did not provoke.
func (r *rig) checkLogs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.logs.All() {
		if e.Level < zapcore.ErrorLevel {
			continue
		}
		surprise := true
		for _, text := range r.expected {
			surprise = surprise && !strings.Contains(e.Message, text)
		}
		if surprise {
			r.t.Errorf("unexpected error: %s %v", e.Message, e.ContextMap())
		}
	}
	for _, err := range r.faults {
		r.t.Errorf("the loop met a fault: %v", err)
	}
}

// up starts the driver on the device.
func (r *rig) up() *driver {
	r.t.Helper()
	d := r.open()
	var ports []netfwd.Port
	for i, p := range d.endpoint.Ports() {
		ports = append(ports, p, r.wires[i])
	}
	var stopLoop func()
	d.balancer, stopLoop = netfwdtest.Join(r.t, netfwd.Config{
		CPU: -1, IdleAfter: 50 * time.Microsecond,
		OnFault: func(_ []netfwd.Port, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.faults = append(r.faults, err)
		},
	}, ports...)
	d.run()
	d.stop = func() {
		d.stopEndpoint() // first: it waits for the loop to release rings
		stopLoop()
	}
	return d
}

// run runs the endpoint until stopEndpoint.
func (d *driver) run() {
	d.stopEndpoint = goRun(func(ctx context.Context) { d.ended <- d.endpoint.Run(ctx) })
}

// goRun runs f until the returned function is called, which waits for it to end.
func goRun(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

// open brings the device up without anyone who serves it. The record of accesses
// begins here.
func (r *rig) open() *driver {
	r.t.Helper()
	r.pci.forget()
	dev, err := Open("0000:00:05.0", r.pci, r.alloc, session.MaxPairs)
	must(r.t, err)
	endpoint, err := NewEndpoint(dev, r.log)
	must(r.t, err)
	if r.address != [6]byte{} {
		must(r.t, endpoint.SetAddress(r.address))
	}
	r.driver = &driver{device: dev, endpoint: endpoint, stop: func() {}, ended: make(chan error, 1)}
	return r.driver
}

// down ends the driver's process in good order, if it runs, and checks what it did.
func (r *rig) down() {
	r.t.Helper()
	d := r.driver
	if d == nil {
		return
	}
	r.driver = nil
	d.stop()
	if d.balancer != nil && r.t.Failed() {
		r.t.Logf("counters of the guest and the wire: %+v", d.balancer.Collect().Ports)
	}
	if err := d.endpoint.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	if n := r.pci.mapped(); n != 0 {
		r.t.Errorf("%d mappings of guest memory are left", n)
	}
	r.pci.checkRules(r.t, d.device)
}

// boot starts an app VM, which stays until the test ends unless it halts before.
func (r *rig) boot(cfg vvutest.AppConfig) *vvutest.App {
	r.t.Helper()
	app, err := vvutest.Boot(r.ram, r.path, cfg)
	must(r.t, err)
	r.t.Cleanup(func() { app.Halt() })
	return app
}

// run boots an app VM up to a started network device.
func (r *rig) run(cfg vvutest.AppConfig) *vvutest.App {
	r.t.Helper()
	app := r.boot(cfg)
	must(r.t, app.Connect())
	must(r.t, app.Start())
	return app
}

// eventually waits for what another goroutine makes true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(vvutest.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, vvutest.Patience)
		}
	}
}
