package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/vvu"
	"vvufwd/vvu/socket"
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
	monitor := l.socket("monitor")
	f = &forwarder{counters: counters.NewFollower()}
	var err error
	f.Process, err = vm.Start(vm.Config{Name: "vvudev", LogPath: filepath.Join(l.out, "vvudev.log"), Append: true,
		Argv: []string{l.tools.Vvudev, "--shadow", "64M", "--vfio-user", monitor, "--vhost-user", app, "--log-level", "debug"}})
	l.must(err)
	l.atEnd(func() { f.Close() })
	l.eventually(func() error { _, err := os.Stat(monitor); return err })
	l.eventually(func() error { _, err := os.Stat(app); return err })
	m := vvutest.Plug(l.whole, monitor)
	d, err := vvu.Open("0000:00:05.0", m, m, 1)
	l.must(err)
	driver, err := vvu.NewEndpoint(d, zap.NewNop())
	l.must(err)
	listener, err := socket.Open(peer)
	l.must(err)
	e := socket.Listen(listener, 1, zap.NewNop())
	_, stopLoop := netfwdtest.Join(l.whole, netfwd.Config{
		CPU: -1, IdleAfter: time.Millisecond, OnFault: func(_ []netfwd.Port, err error) { l.whole.Errorf("fault: %v", err) },
	}, driver.Ports()[0], e.Ports()[0])
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- driver.Run(ctx) }()
	go func() { done <- e.Run(ctx) }()
	unplug := sync.OnceFunc(func() { // before vvudev ends
		cancel()
		for range cap(done) {
			if err := <-done; err != nil {
				l.whole.Errorf("the driver VM: %v", err)
			}
		}
		stopLoop()
		e.Close()
		driver.Close()
		m.Unplug()
	})
	l.atEnd(unplug)
	return f, func() {
		unplug()
		l.stop(f)
	}
}
