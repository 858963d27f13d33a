package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestShadowSnapshots is TestSnapshots for a guest behind vvudev --shadow. The driver VM, whose vvufwd is in this
// process, is told nothing of it.
func TestShadowSnapshots(t *testing.T) {
	l := newLab(t)
	l.snapshots(l.shadowed, "app VM")
}

// shadowed joins an app VM's socket, which vvudev serves, by a driver VM to the socket of a peer.
func (l *lab) shadowed(app, peer string) (f *forwarder, end func()) {
	l.Helper()
	f = l.shadows(app)
	d := l.driverVM(app)
	e := l.peerSocket(peer)
	_, stopLoop := netfwdtest.Join(l.whole, loopOf(l.whole), d.endpoint.Ports()[0], e.Ports()[0])
	unplug := l.serve(stopLoop, e, d)
	return f, func() {
		unplug()
		l.stop(f)
	}
}

// TestShadowMigrates is TestGuestMigrates for a guest that leaves one device of a vvudev --shadow for another one, each with
// a driver VM of its own, whose vvufwds are in this process, in one network. They are told nothing of it, but that a front-end
// comes and another one goes.
func TestShadowMigrates(t *testing.T) {
	l := newLab(t)
	var drivers []*driverVM
	l.migrations(l.image(), "mq=off", 2, func(sockets ...string) (*forwarder, func()) {
		apps, peer := sockets[:2], sockets[2]
		f := l.shadows(apps...)
		var ports []netfwd.SwitchPort
		for _, app := range apps {
			d := l.driverVM(app)
			drivers = append(drivers, d)
			ports = append(ports, switchPort(d.endpoint.Ports()[0]))
		}
		e := l.peerSocket(peer)
		ports = append(ports, switchPort(e.Ports()[0]))
		unplug := l.serve(netfwdtest.Switch(l.whole, netfwd.SwitchConfig{Ports: ports, MACAge: time.Hour, MACLimit: 16}, loopOf(l.whole)), e, drivers...)
		return f, func() {
			unplug()
			l.stop(f)
		}
	})
	for _, d := range drivers {
		if n := d.logs.FilterMessage("dirty log").Len(); n != 0 {
			l.Errorf("the driver VM of %s was told of a dirty log %d times", d.name, n)
		}
		came, left := d.logs.FilterMessage("front-end connected").Len(), d.logs.FilterMessage("front-end disconnected").Len()
		if came == 0 || came > left+1 {
			l.Errorf("in the driver VM of %s a front-end has come %d times, and left %d times", d.name, came, left)
		}
		if errs := d.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zapcore.WarnLevel }).All(); len(errs) != 0 {
			l.Errorf("the driver VM of %s: %v", d.name, errs)
		}
	}
}

// shadows starts a vvudev with a shadow region for each of some app VMs' sockets.
func (l *lab) shadows(apps ...string) *forwarder {
	l.Helper()
	f := &forwarder{counters: counters.NewFollower()}
	argv := []string{l.tools.Vvudev, "--shadow", "64M", "--log-level", "debug", "--stats", "100ms", "--stats-json"}
	for _, app := range apps {
		argv = append(argv, "--device", "vfio-user="+monitorOf(app)+",vhost-user="+app)
	}
	var err error
	f.Process, err = vm.Start(vm.Config{Name: "vvudev", LogPath: filepath.Join(l.out, "vvudev.log"), Append: true, OnLine: f.counters.Feed, Argv: argv})
	l.must(err)
	l.atEnd(func() { f.Close() })
	for _, app := range apps {
		for _, path := range []string{app, monitorOf(app)} {
			l.eventually(func() error { _, err := os.Stat(path); return err })
		}
	}
	return f
}

// monitorOf is the driver VM's socket beside an app VM's. A line of vvudev's log about either has the latter in it.
func monitorOf(app string) string { return app + ".vvu" }

// driverVM is one, as far as vvudev goes: vvufwd's own driver of the device, in this process.
type driverVM struct {
	name     string
	monitor  *vvutest.Monitor
	endpoint *vvu.Endpoint
	logs     *observer.ObservedLogs
}

// driverVM plugs in the device of the app VM at a socket.
func (l *lab) driverVM(app string) *driverVM {
	l.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	d := &driverVM{name: app, monitor: vvutest.Plug(l.whole, monitorOf(app)), logs: logs}
	device, err := vvu.Open("0000:00:05.0", d.monitor, d.monitor, 1)
	l.must(err)
	d.endpoint, err = vvu.NewEndpoint(device, zap.New(core))
	l.must(err)
	return d
}

// peerSocket serves a peer's socket in this process.
func (l *lab) peerSocket(path string) *socket.Endpoint {
	l.Helper()
	listener, err := vhostuser.Listen(path)
	l.must(err)
	return socket.Listen(listener, 1, zap.NewNop())
}

func loopOf(t *testing.T) netfwd.Config {
	return netfwd.Config{CPU: -1, IdleAfter: time.Millisecond, OnFault: func(_ []netfwd.Port, err error) { t.Errorf("fault: %v", err) }}
}

// serve runs driver VMs and the peer's endpoint, whose ports a loop joins, until unplug is called, or at the end. It has to be
// before vvudev ends.
func (l *lab) serve(stopLoop func(), peer *socket.Endpoint, drivers ...*driverVM) (unplug func()) {
	ctx, cancel := context.WithCancel(context.Background())
	runs := []func(context.Context) error{peer.Run}
	for _, d := range drivers {
		runs = append(runs, d.endpoint.Run)
	}
	done := make(chan error, len(runs))
	for _, run := range runs {
		go func() { done <- run(ctx) }()
	}
	unplug = sync.OnceFunc(func() {
		cancel()
		for range runs {
			if err := <-done; err != nil {
				l.whole.Errorf("the driver VM: %v", err)
			}
		}
		stopLoop()
		peer.Close()
		for _, d := range slices.Backward(drivers) {
			d.endpoint.Close()
			d.monitor.Unplug()
		}
	})
	l.atEnd(unplug)
	return unplug
}

func switchPort(p netfwd.Port) netfwd.SwitchPort {
	return netfwd.SwitchPort{End: netfwd.End{Queues: []netfwd.Port{p}}}
}
