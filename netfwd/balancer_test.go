package netfwd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
)

// mqVM is a guest with several queue pairs.
type mqVM struct {
	pairs []*vm
	irqs  []irq // of the receive rings
}

func newMQVM(t *testing.T, name string, pairs int) *mqVM {
	m := &mqVM{}
	for i := range pairs {
		m.pairs = append(m.pairs, newVM(t, fmt.Sprintf("%s/q%d", name, i)))
		m.irqs = append(m.irqs, irq{make(chan struct{}, 1)})
	}
	return m
}

func (m *mqVM) end() (e End) {
	for _, v := range m.pairs {
		e.Queues = append(e.Queues, v)
	}
	return e
}

// use makes the guest start its first n queue pairs and stop the others.
func (m *mqVM) use(n int) {
	for i, v := range m.pairs {
		switch running := v.State() != virtionet.StateIdle; {
		case i < n && !running:
			q := v.queues()
			q.ToGuestCall = m.irqs[i]
			v.Install(q)
		case i >= n && running:
			v.Install(nil)
		}
	}
}

// startBalancer runs a balancer and its loops until the test ends.
func startBalancer(t *testing.T, loops int, idle time.Duration, links ...Link) *Balancer {
	t.Helper()
	cfgs := make([]Config, loops)
	for i := range cfgs {
		cfgs[i] = Config{CPU: -1, IdleAfter: idle, OnFault: func(_ []Port, err error) { t.Error(err) }}
	}
	d, err := NewBalancer(links, cfgs, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		for _, end := range l {
			for _, p := range end.Queues {
				p.(*vm).OnChange(d.WakeLoops)
				p.(*vm).OnStateChange(d.StateChanged)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	loopCtx, stop := context.WithCancel(context.Background())
	var dealing, running sync.WaitGroup
	dealing.Go(func() { d.Run(ctx) })
	for _, l := range d.Loops() {
		running.Go(func() {
			if err := l.Run(loopCtx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		dealing.Wait()
		stop()
		running.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Frames go both ways through all queue pairs, each in order and none lost, with any
// number of loops, while other queue pairs come and go.
func TestBalancerForwardsAllQueuePairs(t *testing.T) {
	for _, c := range []struct{ loops, a, b int }{{1, 4, 4}, {3, 4, 4}, {2, 2, 2}} {
		t.Run(fmt.Sprintf("%d loops, %d and %d pairs", c.loops, c.a, c.b), func(t *testing.T) {
			a, b := newMQVM(t, "a", c.a+1), newMQVM(t, "b", c.b+1)
			d := startBalancer(t, c.loops, 200*time.Microsecond, Link{a.end(), b.end()})
			a.use(c.a)
			b.use(c.b)
			d.settled(t)
			const n = 1500
			var traffic, churn sync.WaitGroup
			for i := range c.a {
				for k, dir := range [][2]*mqVM{{a, b}, {b, a}} {
					src, dst := dir[0].pairs[i], *dir[1].pairs[i]
					dst.irq = dir[1].irqs[i]
					traffic.Go(func() { src.sender(t, n, int64(i*2+k)) })
					traffic.Go(func() { dst.receiver(t, n, int64(i*2+k+100)) })
				}
			}
			over := make(chan struct{})
			churn.Go(func() { // one more queue pair of a, which can only share
				for more := 1; ; more = 1 - more {
					select {
					case <-over:
						return
					case <-time.After(5 * time.Millisecond):
						a.use(c.a + more)
					}
				}
			})
			traffic.Wait()
			close(over)
			churn.Wait()
			counted := func() bool {
				stats := d.Collect() // may be old if the machine is busy
				for _, p := range stats.Ports {
					if p.RxPackets != n || p.TxPackets != n || len(p.Drops) != 0 {
						return false
					}
				}
				return len(stats.Ports) == c.a+c.b
			}
			for deadline := time.Now().Add(10 * time.Second); !counted(); {
				if time.Now().After(deadline) {
					t.Fatalf("want %d frames in and out of each queue pair, and none dropped: %+v", n, d.Collect().Ports)
				}
			}
		})
	}
}

// settled waits until what was asked for is assigned.
func (d *Balancer) settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		want, ok := d.assign(len(d.loops)), true
		for i := range want {
			ok = ok && len(keep(want[i], d.assigned[i])) == len(want[i])
		}
		d.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("queue pairs were not assigned anew")
		}
	}
}

// Four queue pairs of one guest share the only one of another, and a guest that gives
// queue pairs up loses no frame that is sent to those left.
func TestBalancerSharesAQueuePair(t *testing.T) {
	a, b := newMQVM(t, "a", 4), newMQVM(t, "b", 1)
	d := startBalancer(t, 2, 0, Link{a.end(), b.end()})
	a.use(4)
	b.use(1)
	d.settled(t)
	const n = 300
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range a.pairs[:4-round] {
			dst := *b.pairs[0]
			dst.irq = b.irqs[0]
			wg.Go(func() { dst.receiver(t, n, int64(i)) })
			a.pairs[i].sender(t, n, int64(i))
			wg.Wait()
			waitDrained(t, a.pairs[i])
			// Both are played anew with the next one.
			renew(t, b.pairs[0])
			q := b.pairs[0].queues()
			q.ToGuestCall = b.irqs[0]
			b.pairs[0].Install(q)
			d.settled(t)
		}
		for _, v := range a.pairs {
			renew(t, v)
		}
		a.use(0)
		a.use(3 - round)
		d.settled(t)
	}
}

// renew gives a guest's queue pair new rings, which are not installed yet.
func renew(t *testing.T, v *vm) {
	fresh := newVM(t, v.Name())
	v.rx, v.tx = fresh.rx, fresh.tx
}

// waitDrained waits until all that a guest sent came back to it.
func waitDrained(t *testing.T, v *vm) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); v.tx.Driver.Completed() != v.tx.Driver.Outstanding(); {
		if time.Now().After(deadline) {
			t.Fatal("frames are not given back")
		}
		time.Sleep(time.Millisecond)
	}
}

// Devices are told at how many queue pairs frames can be of use.
func TestBalancerSpreads(t *testing.T) {
	a, nic := newMQVM(t, "a", 8), newMQVM(t, "nic", 4)
	told := make(chan int, 100)
	end := nic.end()
	end.Spread = func(pairs int) error { told <- pairs; return nil }
	startBalancer(t, 1, 0, Link{a.end(), end})
	nic.use(4)
	expect := func(want int) {
		t.Helper()
		for timeout := time.After(10 * time.Second); ; {
			select {
			case got := <-told:
				if got == want {
					return
				}
			case <-timeout:
				t.Fatalf("not told of %d", want)
			}
		}
	}
	expect(1)
	a.use(3)
	expect(3)
	a.use(8)
	expect(4)
	a.use(2)
	expect(2)
	a.use(0)
	expect(1)
}

// Loops that end, whatever of, leave no one waiting.
func TestBalancerOutlivesItsLoops(t *testing.T) {
	a, b := newMQVM(t, "a", 2), newMQVM(t, "b", 2)
	cfg := Config{CPU: -1, IdleAfter: 0}
	bad := Config{CPU: 1023}
	d, err := NewBalancer([]Link{{a.end(), b.end()}}, []Config{cfg, bad}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, v := range append(a.pairs, b.pairs...) {
		v.OnChange(d.WakeLoops)
		v.OnStateChange(d.StateChanged)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, l := range d.Loops() {
		wg.Go(func() { l.Run(ctx) })
	}
	wg.Go(func() { d.Run(ctx) })
	done := make(chan struct{})
	go func() {
		a.use(2)
		b.use(2)
		a.use(0)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("a guest waits for a loop that is not there")
	}
	cancel()
	wg.Wait()
}

// Links share loops evenly, and one whose guest uses more queue pairs moves no others.
func TestAssignmentIsStable(t *testing.T) {
	vms := make([]*mqVM, 6)
	for i := range vms {
		vms[i] = newMQVM(t, fmt.Sprint(i), 4)
	}
	links := []Link{{vms[0].end(), vms[1].end()}, {vms[2].end(), vms[3].end()}, {vms[4].end(), vms[5].end()}}
	startBalancer(t, 1, 0, links...) // someone has to serve them
	at := func(loops int) map[*link][]int {
		d := &Balancer{}
		for _, l := range links {
			d.links = append(d.links, newLink(l))
		}
		where := map[*link][]int{}
		for loop, lanes := range d.assign(loops) {
			for _, p := range lanes {
				where[p.link] = append(where[p.link], loop)
			}
		}
		for i, l := range d.links {
			where[nil] = append(where[nil], where[l]...)
			if want := min(vms[2*i].used(), vms[2*i+1].used()); len(where[l]) != max(1, want) {
				t.Errorf("link %d has %d lanes, want %d", i, len(where[l]), want)
			}
		}
		return where
	}
	for _, v := range vms {
		v.use(1)
	}
	if got := at(3)[nil]; !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("three links are at loops %v of three", got)
	}
	vms[0].use(4)
	vms[1].use(4)
	got := at(3)[nil]
	if slices.Sort(got[:4]); !slices.Equal(got, []int{0, 0, 1, 2, 1, 2}) {
		t.Errorf("lanes are at loops %v", got)
	}
	if got := at(1)[nil]; !slices.Equal(got, make([]int, 6)) {
		t.Errorf("lanes are at loops %v of one", got)
	}
}

// used is how many queue pairs the guest uses.
func (m *mqVM) used() (n int) {
	for _, v := range m.pairs {
		if v.State() == virtionet.StateActive {
			n++
		}
	}
	return n
}
