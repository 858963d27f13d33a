package e2e

import (
	"fmt"
	"strings"

	"vvufwd/cmd/vvudemo/counters"
	"vvufwd/cmd/vvudemo/vm"
)

// forwarder is a running vvufwd with one pair of sockets.
type forwarder struct {
	*vm.Process
	counters *counters.Follower
	mark     int // the first line of its log that no wait has passed yet
}

// forward starts vvufwd between two sockets, given as its --vhost-user takes them, and waits until it serves them.
func (l *lab) forward(a, b string) *forwarder {
	l.Helper()
	f := &forwarder{counters: counters.NewFollower()}
	var err error
	f.Process, err = vm.Start(vm.Config{
		Name: "vvufwd", LogPath: l.out + "/vvufwd.log", Append: true, OnLine: f.counters.Feed,
		Argv: []string{l.tools.Vvufwd, "--vhost-user", a, "--vhost-user", b, "--stats", "100ms", "--stats-json", "--log-level", "debug"},
	})
	l.must(err)
	l.atEnd(func() { f.Close() })
	l.expect(f, "forwarding")
	return f
}

// expect waits for a line of vvufwd's log with all the words in it, from where the last such wait ended.
func (l *lab) expect(f *forwarder, words ...string) {
	l.Helper()
	var err error
	_, f.mark, err = f.Expect(l.ctx, f.mark, commandLimit, fmt.Sprintf("line with %q", words), containing(words...))
	l.must(err)
}

// forget makes the next expect begin at what is logged from now on.
func (f *forwarder) forget() { f.mark = f.Mark() }

// stop ends vvufwd as an administrator does. It must end well.
func (l *lab) stop(f *forwarder) {
	l.Helper()
	l.must(f.Terminate())
	l.must(f.WaitExit(l.ctx, stopLimit))
}

// ports returns what vvufwd has counted until now at its two ports.
func (l *lab) ports(f *forwarder) (a, b counters.Port) {
	l.Helper()
	s, err := f.counters.Now(l.ctx)
	l.must(err)
	if len(s.Ports) != 2 || !strings.HasPrefix(s.Ports[0].Name, "vhost-user:") {
		l.Fatalf("ports = %+v, want two of sockets", s.Ports)
	}
	return s.Ports[0], s.Ports[1]
}

// nothingLost reports whether all that came in at one port went out at the other.
func nothingLost(a, b counters.Port) error {
	switch {
	case a.Dropped()+b.Dropped() != 0:
		return fmt.Errorf("frames were dropped: %+v, %+v", a, b)
	case a.RxPackets != b.TxPackets || a.RxBytes != b.TxBytes || b.RxPackets != a.TxPackets || b.RxBytes != a.TxBytes:
		return fmt.Errorf("what came in at one port is not what went out at the other: %+v, %+v", a, b)
	}
	return nil
}
