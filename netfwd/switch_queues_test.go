package netfwd

import (
	"fmt"
	"slices"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
)

// newQueuesSwitch is a switch of two ports with several queue pairs each.
func newQueuesSwitch(t *testing.T, a, b int) (s *Switch, ports [2][]*fakePort) {
	t.Helper()
	cfg := SwitchConfig{MACAge: testAge, MACLimit: 16, Ports: make([]SwitchPort, 2)}
	for i, n := range []int{a, b} {
		for k := range n {
			p := &fakePort{name: fmt.Sprintf("p%d/q%d", i, k), room: -1}
			ports[i] = append(ports[i], p)
			cfg.Ports[i].Queues = append(cfg.Ports[i].Queues, p)
		}
	}
	s, err := newSwitch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.housekeep(time.Unix(1000, 0))
	return s, ports
}

// The queue pairs of a port have turns, and what comes from one goes to one: those that
// take frames share what comes.
func TestSwitchQueuePairsTakeTurns(t *testing.T) {
	s, p := newQueuesSwitch(t, 3, 2)
	for round := range 3 {
		for q, port := range p[0] {
			for i := range 2 * virtionet.MaxBurst {
				port.in = append(port.in, frame(station(1), station(0), q<<16|round<<8|i))
			}
		}
	}
	for range 18 {
		left := []int{len(p[0][0].in), len(p[0][1].in), len(p[0][2].in)}
		if slices.Max(left)-slices.Min(left) > virtionet.MaxBurst {
			t.Fatalf("queue pairs have %v frames left", left)
		}
		if !s.step() {
			t.Fatal("nothing moves")
		}
	}
	if s.step() {
		t.Error("more frames than were sent")
	}
	const each = 3 * 2 * virtionet.MaxBurst
	if got := []int{len(p[1][0].out), len(p[1][1].out)}; !slices.Equal(got, []int{2 * each, each}) {
		t.Errorf("queue pairs got %v frames", got)
	}
	// The second one stops to take frames.
	p[1][1].less, p[1][1].changed = virtionet.StateActive-virtionet.StateSending, true
	s.step()
	p[0][1].in = [][]byte{frame(station(1), station(0), 1)}
	if s.step(); len(p[1][0].out) != 2*each+1 || p[1][1].synced != 1 {
		t.Errorf("%d frames at the queue pair that is left", len(p[1][0].out))
	}
}

// dropsPort is a queue pair at which nothing but frames to be dropped arrive.
type dropsPort struct{ *fakePort }

func (p dropsPort) Receive(b *virtionet.Burst) (worked bool) {
	b.Reset()
	p.counters.Drops[virtionet.DropRunt] += virtionet.MaxBurst
	return true
}

// A port has one turn a round, also if it has nothing to show for it: else one with many
// queue pairs full of frames to be dropped would delay all others as many times.
func TestDropsTakeOneTurn(t *testing.T) {
	s, p := newQueuesSwitch(t, 4, 1)
	port := &s.ports[0]
	for i, q := range p[0][:3] {
		port.queues[i] = newMember(dropsPort{q})
	}
	p[0][3].in = [][]byte{frame(station(1), station(0), 1)}
	for round := range 4 {
		s.step()
		var looked uint64
		for _, q := range p[0] {
			looked += q.counters.Drops[virtionet.DropRunt] / virtionet.MaxBurst
		}
		if looked > uint64(round+1) {
			t.Fatalf("%d bursts were looked at in %d rounds", looked, round+1)
		}
	}
	if len(p[1][0].out) != 1 {
		t.Errorf("%d frames came through, want 1", len(p[1][0].out))
	}
}
