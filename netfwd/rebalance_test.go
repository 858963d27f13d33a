package netfwd

import (
	"fmt"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"

	virtionet "vvufwd/virtio/net"
)

// handBalancer is a balancer of one link whose only loop the test plays, so that control,
// balancer and loop meet in the order that the test wants.
type handBalancer struct {
	*Balancer
	t    *testing.T
	a, b []*fakePort
}

func newHandBalancer(t *testing.T, a, b int) *handBalancer {
	t.Helper()
	h := &handBalancer{t: t}
	var link Link
	for end, n := range []int{a, b} {
		ports := []*[]*fakePort{&h.a, &h.b}[end]
		for i := range n {
			p := &fakePort{name: fmt.Sprintf("%c/q%d", 'a'+end, i), room: -1}
			*ports = append(*ports, p)
			link[end].Queues = append(link[end].Queues, p)
		}
	}
	var err error
	if h.Balancer, err = NewBalancer([]Link{link}, []Config{{CPU: -1}}, func(error) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// again rebalances, and returns what the balancer panicked with.
func (h *handBalancer) again() (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		debug.SetPanicOnFault(true)
		err = guarded(h.rebalance)
	}()
	for loop := h.loops[0]; ; {
		select {
		case <-done:
			return err
		default:
		}
		if groups := loop.wanted.Load(); groups != nil {
			loop.adopt(*groups)
		}
	}
}

// step is a round of the loop, and returns what it panicked with.
func (h *handBalancer) step() error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return guarded(func() { h.loops[0].round() })
}

func (h *handBalancer) housekeep() {
	for _, g := range h.loops[0].groups {
		g.housekeep(time.Now())
	}
}

// A guest whose memory vanishes while frames of it wait, and whose peer uses other queue
// pairs then, harms its own port alone: the balancer does not look at the frames.
func TestBalancerTouchesNoFrames(t *testing.T) {
	h := newHandBalancer(t, 1, 3)
	h.b[2].less = virtionet.StateActive
	if err := h.again(); err != nil {
		t.Fatal(err)
	}
	ram, vanish := vanishing(t, 4096)
	begin := uintptr(unsafe.Pointer(&ram[0]))
	h.a[0].owns = func(addr uintptr) bool { return addr-begin < 4096 }
	h.a[0].in = [][]byte{ram[:100]}
	h.b[0].room, h.b[1].room = 0, 0
	if err := h.step(); err != nil || h.a[0].held != 1 {
		t.Fatalf("%d frames wait: %v", h.a[0].held, err)
	}
	vanish()
	h.b[2].less = 0
	if err := h.again(); err != nil {
		t.Fatalf("the balancer is stopped: %v", err)
	}
	err := h.step()
	if _, inMemory := faultAddress(err); !inMemory {
		t.Fatalf("the loop meets no fault, but %v", err)
	}
	if failed := h.loops[0].groups[0].contain(err); len(failed) != 1 || failed[0] != Port(h.a[0]) {
		t.Errorf("%v have failed", failed)
	}
	h.b[0].room, h.b[1].room = -1, -1
	h.a[0].in = [][]byte{make([]byte, 100)}
	if err := h.step(); err != nil || len(h.b[0].out)+len(h.b[1].out)+len(h.b[2].out) != 1 {
		t.Errorf("nothing is forwarded any more: %v", err)
	}
}

// Frames wait that a queue pair has sent; control decides to stop it, which the balancer
// sees before the loop does. When the loop has stopped it the frames are gone: their
// memory may be.
func TestNoFrameOutlivesItsQueuePair(t *testing.T) {
	for name, end := range map[string]func(h *handBalancer, q *fakePort){
		"the queue pair stops": func(h *handBalancer, q *fakePort) {
			q.changed = true
			h.housekeep()
		},
		"a fault breaks its lane off": func(h *handBalancer, q *fakePort) {
			for _, g := range h.loops[0].groups {
				g.contain(fmt.Errorf("a bug"))
			}
		},
		"the loop ends": func(h *handBalancer, q *fakePort) {
			for _, g := range h.loops[0].groups {
				g.leave()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandBalancer(t, 2, 2)
			q := h.a[1]
			q.in = [][]byte{make([]byte, 100)}
			h.b[1].room = 0
			if err := h.step(); err != nil || q.held != 1 {
				t.Fatalf("%d frames wait: %v", q.held, err)
			}
			q.less = virtionet.StateActive // control has begun to stop it
			if err := h.again(); err != nil {
				t.Fatal(err)
			}
			end(h, q)
			q.held = 0 // whatever else the port does, it holds none any more
			q.less = 0
			if err := h.again(); err != nil {
				t.Fatal(err)
			}
			h.b[1].room = -1
			if err := h.step(); err != nil || len(h.b[0].out)+len(h.b[1].out) != 0 || q.held != 0 {
				t.Errorf("%d frames came back from the dead, %d held: %v", len(h.b[0].out)+len(h.b[1].out), q.held, err)
			}
		})
	}
}
