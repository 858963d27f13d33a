package speed

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

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

// path is the way of a frame from an app VM to a peer, both of whom are vhost-user front-ends: through the device, which vvufwd's own
// driver drives, and with a shadow region through that, all in this process and in memory that all of them have mapped.
//
//	app ═ device ═ driver ── loop ── peer                          direct
//	app ── loop ── shadow region ═ device ═ driver ── loop ── peer  shadow
type path struct {
	app, peer string   // sockets
	memory    *os.File // the app VM's, which the direct device has to know before
	loops     []*netfwd.Balancer
	close     func() // takes all of it down
}

const appMemory = 16 << 20 // bytes

// newPath makes one. Its loops are pinned to the CPUs: if there is one, a single loop does all. They never sleep.
func newPath(t testing.TB, shadowed, packed bool, cpus []int) *path {
	t.Helper()
	dir, err := os.MkdirTemp("", "v") // paths of sockets must be short
	must(t, err)
	p := &path{app: filepath.Join(dir, "a"), peer: filepath.Join(dir, "p"), memory: memfd(t, appMemory)}
	monitor := filepath.Join(dir, "m")
	var shown *os.File // in the device's BAR
	var region *shadow.Memory
	if shadowed {
		region, err = shadow.NewMemory(shadow.Need(1))
		must(t, err)
		shown, err = region.Dup()
	} else {
		shown, err = dup(p.memory)
	}
	must(t, err)
	ram, err := device.AdoptRAM("memory", shown)
	must(t, err)
	dev, err := device.New(device.Config{RAM: ram, Queues: session.Rings(1), Log: zap.NewNop()})
	must(t, err)
	unplug := start(t, serverOf(t, monitor, vfiouser.NewServer(dev, zap.NewNop()).Serve))
	var servers []func(context.Context) error
	var links []netfwd.Link
	closers := []func() error{dev.Close, ram.Close}
	if shadowed {
		inside := dev.Inside()
		s, err := shadow.New(shadow.Config{Name: "shadow", Memory: region, Pairs: 1, Packed: packed, Connect: inside.Connect, Log: zap.NewNop()})
		must(t, err)
		e := socket.Listen(listen(t, p.app), 1, zap.NewNop())
		e.Watch(func(f socket.Frontend) { s.SetFrontend(shadow.Frontend(f)) })
		links = append(links, netfwd.Link{{Queues: []netfwd.Port{e.Ports()[0]}}, {Queues: []netfwd.Port{s.Ports()[0]}, Spread: s.Spread}})
		servers = append(servers, e.Run, s.Run)
		closers = append([]func() error{func() error { inside.Close(); return nil }, e.Close}, append(closers, region.Close)...)
	} else {
		servers = append(servers, serverOf(t, p.app, dev.ServeFrontends))
	}
	m := vvutest.Plug(t, monitor)
	function, err := vvu.Open("0000:00:05.0", m, m, 1)
	must(t, err)
	driver, err := vvu.NewEndpoint(function, zap.NewNop())
	must(t, err)
	peer := socket.Listen(listen(t, p.peer), 1, zap.NewNop())
	links = append(links, netfwd.Link{{Queues: []netfwd.Port{driver.Ports()[0]}}, {Queues: []netfwd.Port{peer.Ports()[0]}}})
	stopLoops := p.forward(t, links, cpus)
	stopServing := start(t, append(servers, driver.Run, peer.Run)...)
	p.close = func() {
		stopServing()
		stopLoops()
		driver.Close()
		m.Unplug()
		unplug()
		for _, close := range append([]func() error{peer.Close}, closers...) {
			must(t, close())
		}
		must(t, p.memory.Close())
		must(t, os.RemoveAll(dir))
	}
	return p
}

// start runs servers until stop is called.
func start(t testing.TB, servers ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, serve := range servers {
		serving.Go(func() {
			if err := serve(ctx); err != nil {
				t.Errorf("a server: %v", err)
			}
		})
	}
	return func() {
		cancel()
		serving.Wait()
	}
}

// forward has the links served, by a loop for each CPU or by one for all.
func (p *path) forward(t testing.TB, links []netfwd.Link, cpus []int) (stop func()) {
	t.Helper()
	groups := [][]netfwd.Link{links}
	if len(cpus) >= len(links) {
		groups = nil
		for _, l := range links {
			groups = append(groups, []netfwd.Link{l})
		}
	}
	var stops []func()
	for i, g := range groups {
		b, stop := netfwdtest.Run(t, g, []netfwd.Config{{CPU: cpus[i], IdleAfter: -1, OnFault: func(_ []netfwd.Port, err error) { t.Errorf("fault: %v", err) }}})
		p.loops, stops = append(p.loops, b), append(stops, stop)
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// busy is how long the loops have been busy, together and the one that was it most.
func (p *path) busy() (all, most int64) {
	for _, b := range p.loops {
		for _, l := range b.Collect().Loops {
			all, most = all+l.BusyNS, max(most, l.BusyNS)
		}
	}
	return all, most
}

// doorbells are how often the driver VM has rung, and frames how many it has had of the app VM and for it.
func (p *path) doorbells() (doorbells, frames uint64) {
	for _, port := range p.loops[len(p.loops)-1].Collect().Ports {
		if strings.HasPrefix(port.Name, "vvu:") {
			return port.Interrupts, port.RxPackets + port.TxPackets
		}
	}
	return 0, 0
}

// serverOf listens at a socket, and returns what serves it.
func serverOf(t testing.TB, path string, serve func(context.Context, *net.UnixListener) error) func(context.Context) error {
	l := listen(t, path)
	return func(ctx context.Context) error { return serve(ctx, l) }
}

func listen(t testing.TB, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	return l
}

func memfd(t testing.TB, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("app VM", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "app VM")
	must(t, f.Truncate(size))
	return f
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), f.Name()), err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
