package netfwd

import (
	"fmt"
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
)

// fakeLink is a link of fake ports.
func fakeLink(name string, a, b int) (l Link, ports [2][]*fakePort) {
	for end, n := range []int{a, b} {
		for i := range n {
			p := &fakePort{name: fmt.Sprintf("%s%d/q%d", name, end, i), room: -1}
			ports[end] = append(ports[end], p)
			l[end].Queues = append(l[end].Queues, p)
		}
	}
	return l, ports
}

// fill lets frames arrive at ports, bursts of them.
func fill(bursts int, ports ...*fakePort) {
	for _, p := range ports {
		p.in = slices.Repeat([][]byte{make([]byte, 100)}, bursts*virtionet.MaxBurst)
	}
}

func sent(ports []*fakePort) (n int) {
	for _, p := range ports {
		n += len(p.out)
	}
	return n / virtionet.MaxBurst
}

// A guest gets no more of a loop's time by using more queue pairs, be they several lanes
// or one, while another link has something to do; all of them are served in turns, and
// every round while it has not.
func TestLinksShareALoop(t *testing.T) {
	const bursts, rounds = 16, 32
	for _, pairs := range [][2]int{{8, 8}, {8, 1}, {8, 3}} {
		t.Run(fmt.Sprint(pairs), func(t *testing.T) {
			many, a := fakeLink("a", pairs[0], pairs[1])
			one, b := fakeLink("b", 1, 1)
			d, err := NewBalancer([]Link{many, one}, []Config{{CPU: -1}}, func(error) {})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			fill(bursts, a[0]...)
			fill(rounds, b[0][0])
			loop := d.loops[0]
			for round := range rounds {
				if !loop.round() {
					t.Fatal("nothing moves")
				}
				if got := [2]int{sent(a[1]), sent(b[1])}; got != [2]int{round + 1, round + 1} {
					t.Fatalf("after %d rounds %d bursts of the one and %d of the other link are sent", round+1, got[0], got[1])
				}
			}
			var left []int
			for _, p := range a[0] {
				left = append(left, len(p.in)/virtionet.MaxBurst)
			}
			if slices.Max(left)-slices.Min(left) > 3 { // a lane of two has as many turns as one of three
				t.Errorf("queue pairs have %v bursts left", left)
			}
			for range pairs[0]*bursts - rounds {
				loop.round()
			}
			if n := sent(a[1]); n != pairs[0]*bursts {
				t.Errorf("%d bursts are sent", n)
			}
			// One queue pair alone has every turn.
			fill(rounds, a[0][5])
			for range rounds {
				loop.round()
			}
			if n := sent(a[1]); n != pairs[0]*bursts+rounds {
				t.Errorf("%d bursts are sent", n)
			}
		})
	}
}

// The lanes of a link that has a loop for itself are served every round.
func TestLinkAloneInALoop(t *testing.T) {
	link, p := fakeLink("a", 4, 4)
	d, err := NewBalancer([]Link{link}, []Config{{CPU: -1}}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fill(1, p[0]...)
	fill(1, p[1]...)
	if !d.loops[0].round() || sent(p[0]) != 4 || sent(p[1]) != 4 {
		t.Errorf("%d and %d bursts are sent", sent(p[0]), sent(p[1]))
	}
}

// What is dropped takes the turn that it costs.
func TestDropsTakeALinksTurn(t *testing.T) {
	for _, pairs := range [][2]int{{8, 8}, {8, 1}} {
		many, a := fakeLink("a", pairs[0], pairs[1])
		for i, p := range a[0] {
			many[0].Queues[i] = dropsPort{p}
		}
		one, _ := fakeLink("b", 1, 1)
		d, err := NewBalancer([]Link{many, one}, []Config{{CPU: -1}}, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for range 8 {
			d.loops[0].round()
		}
		for i, p := range a[0] {
			if n := p.counters.Dropped() / virtionet.MaxBurst; n != 1 {
				t.Errorf("%v: queue pair %d was looked at %d times in 8 rounds", pairs, i, n)
			}
		}
	}
}
