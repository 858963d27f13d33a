// Package netfwdtest joins ports for tests of other packages.
package netfwdtest

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"vvufwd/netfwd"
)

// Join joins each port with an even index with the one after it, as vvufwd does, and
// forwards in one loop until stop is called. Those who install queues at the ports must have
// ended before that.
func Join(t testing.TB, cfg netfwd.Config, ports ...netfwd.Port) (b *netfwd.Balancer, stop func()) {
	t.Helper()
	var links []netfwd.Link
	for i := 0; i+1 < len(ports); i += 2 {
		links = append(links, netfwd.Link{{Queues: ports[i : i+1]}, {Queues: ports[i+1 : i+2]}})
	}
	return Run(t, links, []netfwd.Config{cfg})
}

// Run is Join for links with more queue pairs, or more loops.
func Run(t testing.TB, links []netfwd.Link, loops []netfwd.Config) (b *netfwd.Balancer, stop func()) {
	t.Helper()
	b, err := netfwd.NewBalancer(links, loops, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		for _, end := range l {
			for _, p := range end.Queues {
				hook(p, b)
			}
		}
	}
	return b, run(t, b)
}

// Switch joins all ports in a switch.
func Switch(t testing.TB, cfg netfwd.SwitchConfig, loop netfwd.Config) (stop func()) {
	t.Helper()
	s, err := netfwd.NewSwitch(cfg, loop, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range cfg.Ports {
		for _, p := range end.Queues {
			hook(p, s)
		}
	}
	return run(t, s)
}

// forwarding is a Balancer or a Switch.
type forwarding interface {
	Loops() []*netfwd.Loop
	Run(ctx context.Context)
	Close() error
	WakeLoops()
	StateChanged()
}

// run forwards until stop is called.
func run(t testing.TB, f forwarding) (stop func()) {
	t.Cleanup(MakeRoom(len(f.Loops())))
	var controlling, forwarding sync.WaitGroup
	controlCtx, stopControl := context.WithCancel(context.Background())
	loopCtx, stopLoops := context.WithCancel(context.Background())
	controlling.Go(func() { f.Run(controlCtx) })
	for _, l := range f.Loops() {
		forwarding.Go(func() {
			if err := l.Run(loopCtx); err != nil {
				t.Errorf("loop: %v", err)
			}
		})
	}
	return func() {
		stopControl()
		controlling.Wait()
		stopLoops()
		forwarding.Wait()
		f.Close()
	}
}

// telling is what such a port has.
type telling interface {
	OnChange(func())
	OnStateChange(func())
}

// hook lets a port whose peer comes and goes tell of that: a guest's, and a shadow's.
func hook(p netfwd.Port, b forwarding) {
	if g, ok := p.(telling); ok {
		g.OnChange(b.WakeLoops)
		g.OnStateChange(b.StateChanged)
	}
}

// room is for all loops of the process, of which tests run several at a time.
var room struct {
	sync.Mutex
	loops int
}

// MakeRoom gives goroutines that are no loops places to run, until done is called. A loop that sleeps for a moment keeps its place of
// Go's scheduler (await.Briefly), so vvufwd, too, has one more than it has loops. With fewer than that a test waits for sleeping loops all the
// time, a hundred times as long as it takes.
func MakeRoom(loops int) (done func()) {
	change := func(by int) {
		room.Lock()
		defer room.Unlock()
		room.loops += by
		if need := room.loops + 2; by > 0 && need > runtime.GOMAXPROCS(0) {
			runtime.GOMAXPROCS(need) // and left: a change stops the world
		}
	}
	change(loops)
	return func() { change(-loops) }
}
