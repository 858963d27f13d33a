package e2e

import (
	"fmt"
	"path/filepath"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/vm"
)

// forwarder is a running vvufwd whose ports are sockets.
type forwarder struct {
	*vm.Process
	counters *counters.Follower
	mark     int // the first line of its log that no wait has passed yet
}

// forward starts vvufwd on sockets, given as its --vhost-user takes them and paired in that order, and waits until it serves them.
func (l *lab) forward(sockets ...string) *forwarder {
	l.Helper()
	f := l.forwarder(sockets)
	for range len(sockets) / 2 {
		l.expect(f, "forwarding")
	}
	return f
}

// switched is forward with all sockets joined in one switch.
func (l *lab) switched(sockets ...string) *forwarder {
	l.Helper()
	f := l.forwarder(sockets, "--switch")
	l.expect(f, "forwarding in a switch")
	return f
}

func (l *lab) forwarder(sockets []string, args ...string) *forwarder {
	l.Helper()
	f := &forwarder{counters: counters.NewFollower()}
	argv := append([]string{l.tools.Vvufwd, "--stats", "100ms", "--stats-json", "--log-level", "debug"}, args...)
	for _, s := range sockets {
		argv = append(argv, "--vhost-user", s)
	}
	var err error
	f.Process, err = vm.Start(vm.Config{
		Name: "vvufwd", LogPath: filepath.Join(l.out, "vvufwd.log"), Append: true, OnLine: f.counters.Feed, Argv: argv,
	})
	l.must(err)
	l.atEnd(func() { f.Close() })
	return f
}

// expect waits for a line of vvufwd's log with all the words in it, from where the last such wait ended, and returns it.
func (l *lab) expect(f *forwarder, words ...string) (line string) {
	l.Helper()
	var err error
	line, f.mark, err = f.Expect(l.ctx, f.mark, commandLimit, fmt.Sprintf("line with %q", words), vm.Containing(words...))
	l.must(err)
	return line
}

// carry waits until both rings of each of these machines' first queue pair have started, in any order, and its guest sees the link,
// which QEMU takes down while it has no back-end: what was said before f's mark does not count. A frame for a machine whose rings have
// not started is dropped, as on a wire that ends nowhere, and one of a guest without a link is not sent.
func (l *lab) carry(f *forwarder, machines ...*virtualMachine) {
	l.Helper()
	begin, end := f.mark, f.mark
	for _, m := range machines {
		for ring := range 2 {
			f.mark = begin
			l.expect(f, "ring started", m.Socket, fmt.Sprintf(`"ring": %d,`, ring))
			end = max(end, f.mark)
		}
		l.carrier(m, true)
	}
	f.mark = end
}

// forget makes the next expect begin at what is logged from now on.
func (f *forwarder) forget() { f.mark = f.Mark() }

// stop ends vvufwd as an administrator does. It must end well.
func (l *lab) stop(f *forwarder) {
	l.Helper()
	l.must(f.Terminate())
	l.must(f.WaitExit(l.ctx, stopLimit))
}

// ports returns what vvufwd has counted until now at its ports.
func (l *lab) ports(f *forwarder) []counters.Port {
	l.Helper()
	s, err := f.counters.Now(l.ctx)
	l.must(err)
	return s.Ports
}

// nothingLost reports whether, in every pair, all that came in at one port went out at the other.
func nothingLost(ports []counters.Port) error {
	if len(ports) == 0 || len(ports)%2 != 0 {
		return fmt.Errorf("ports are not in pairs: %+v", ports)
	}
	for i := 0; i < len(ports); i += 2 {
		a, b := ports[i], ports[i+1]
		switch {
		case a.Dropped()+b.Dropped() != 0:
			return fmt.Errorf("frames were dropped: %+v, %+v", a, b)
		case a.RxPackets != b.TxPackets || a.RxBytes != b.TxBytes || b.RxPackets != a.TxPackets || b.RxBytes != a.TxBytes:
			return fmt.Errorf("what came in at one port is not what went out at the other: %+v, %+v", a, b)
		}
	}
	return nil
}
