package netfwd

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// An address is disputed if it comes back to a port, or belongs to another one for good
// or lately. One that moves on, or whose old place has been given up, is not.
func TestMACTableDisputes(t *testing.T) {
	const a, b, c, uplink = 0, 1, 2, 3
	type step struct {
		learn  int // at this port, or
		forget int // this port less one
	}
	at := func(port int) step { return step{learn: port} }
	gone := func(port int) step { return step{forget: port + 1} }
	for _, tc := range []struct {
		name  string
		steps []step
		want  [][2]int
	}{
		{"it stays", []step{at(a), at(a), at(a)}, nil},
		{"it moves", []step{at(a), at(b), at(b), at(c)}, nil},
		{"two have it", []step{at(a), at(b), at(a), at(b), at(a)}, [][2]int{{b, a}}},
		{"three have it", []step{at(a), at(b), at(c), at(a), at(c), at(a)}, [][2]int{{a, c}}},
		{"it moves and comes back after its old place was given up", []step{at(a), at(b), gone(a), at(a)}, nil},
		{"it moves and its new place is given up", []step{at(a), at(b), gone(b), at(a)}, nil},
		{"it moves to the network", []step{at(a), at(uplink), at(uplink)}, nil},
		{"it is in the network", []step{at(uplink), at(a), at(a)}, [][2]int{{uplink, a}}},
		{"the network has it too", []step{at(a), at(uplink), at(a)}, [][2]int{{uplink, a}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := newMACTable([]macShare{{limit: 4}, {limit: 4}, {limit: 4}, {limit: 4, uplink: true}}, testAge)
			table.tick(time.Unix(1000, 0))
			var got [][2]int
			table.conflict = func(address mac, ports [2]int) bool {
				if address != station(1) {
					t.Errorf("a conflict about %x", address)
				}
				got = append(got, ports)
				return true
			}
			for _, s := range tc.steps {
				if s.forget > 0 {
					table.forget(s.forget - 1)
				} else {
					table.learn(station(1), s.learn)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("disputes %v, want %v", got, tc.want)
			}
		})
	}
}

// Who could not be told is told the next time; a static address can be disputed as well.
func TestDisputesAreToldLater(t *testing.T) {
	table := newMACTable([]macShare{{limit: 4}, {limit: 4}}, testAge)
	table.tick(time.Unix(1000, 0))
	table.fix(station(1), 1)
	calls := 0
	table.conflict = func(mac, [2]int) bool { calls++; return calls == 3 }
	for range 10 {
		table.learn(station(1), 0)
	}
	if calls != 3 {
		t.Errorf("reported %d times, want 3", calls)
	}
}

// A switch tells of each address once, and of no more than it can remember.
func TestConflictsAreToldOnce(t *testing.T) {
	cfg := SwitchConfig{MACAge: testAge, MACLimit: 2 * maxConflicts}
	for _, name := range []string{"vhost-user:/a", "vhost-user:/b"} {
		cfg.Ports = append(cfg.Ports, SwitchPort{End: End{Queues: []Port{&fakePort{name: name, room: -1}}}})
	}
	told := make(chan string, 10*maxConflicts)
	cfg.OnConflict = func(address net.HardwareAddr, ports [2]string) {
		told <- address.String()
		if ports != [2]string{"vhost-user:/b", "vhost-user:/a"} {
			t.Errorf("between %v", ports)
		}
	}
	s, err := NewSwitch(cfg, Config{CPU: -1}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	s.housekeep(time.Unix(1000, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	use := func(n int) {
		for port := range 2 {
			s.ports[port].queues[0].Port.(*fakePort).in = [][]byte{frame(station(n), station(n), 0)}
			for s.step() {
			}
		}
	}
	flap := func(n int) {
		use(n)
		use(n)
	}
	await := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told of %s, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing is told of %s", want)
		}
	}
	for n := range maxConflicts {
		flap(n)
		await(net.HardwareAddr(addressOf(station(n))).String())
	}
	for n := range 2 * maxConflicts { // known, or one too many
		flap(n)
		s.macs.forget(0)
		s.macs.forget(1)
		flap(n)
	}
	for deadline := time.Now().Add(10 * time.Second); len(s.conflicts.seen) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("conflicts are not taken any more")
		}
	}
	cancel()
	run.Wait()
	if len(told) > 0 {
		t.Errorf("told again of %s", <-told)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
