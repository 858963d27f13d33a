package shadow_test

import (
	"bytes"
	"sync"
	"testing"

	"vvufwd/netfwd"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vvutest"
)

// turns is a wire that notes how far another one was at each of its own frames. Both are one loop's.
type turns struct {
	*vvutest.Wire
	mu    sync.Mutex
	sent  int    // frames that came from the driver VM
	other *turns // or nil
	seen  []int  // of other's sent, at each frame
}

func (w *turns) Transmit(b *virtionet.Burst, first, end int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.Wire.Transmit(b, first, end)
	for range done {
		w.sent++
		if w.other != nil {
			w.seen = append(w.seen, w.other.sent)
		}
	}
	return done
}

// flood completes receive buffers as fast as there are some, and rings our bells, until stop is closed. It
// takes nothing that is sent to it.
func (e *evil) flood(stop chan struct{}, data []byte) {
	q := e.ring(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		q.Available()
		var c vring.Chain
		for q.Pop(&c) {
			q.Push(c.Head, uint32(copy(c.Write[0], data)))
		}
		q.ResetViews()
		q.Publish()
		e.call(0)
		e.call(1)
	}
}

// A driver VM that floods its rings, takes nothing, and rings for nothing has no more of the loop than its
// turn: between two bursts of another device's frames there is one of its own. It cannot end other sessions either.
func TestDriverVMsShareTheLoopFairly(t *testing.T) {
	for name, data := range map[string][]byte{
		"frames":            withHeader(1, frame(3), virtionet.Header{}),
		"runts":             make([]byte, 3),
		"frames that count": withHeader(9, frame(3), virtionet.Header{}),
	} {
		t.Run(name, func(t *testing.T) {
			var greedy, modest *turns
			rigs := newEvilRigs(t, false, func(_ int, w *vvutest.Wire) netfwd.Port {
				greedy = &turns{Wire: w}
				return greedy
			}, func(_ int, w *vvutest.Wire) netfwd.Port {
				modest = &turns{Wire: w, other: greedy}
				return modest
			})
			bad, good := rigs[0].connect(1), rigs[1].connect(1)
			for i := range 600 { // more than its ring holds: some wait for ever
				rigs[0].wire.Push(frame(i))
			}
			stop := make(chan struct{})
			var flooding, draining sync.WaitGroup
			end := sync.OnceFunc(func() {
				close(stop)
				flooding.Wait()
				draining.Wait()
			})
			defer end() // before the region is unmapped
			flooding.Go(func() { bad.flood(stop, data) })
			draining.Go(func() { // the test's memory is bounded too
				for {
					select {
					case <-stop:
						return
					default:
						rigs[0].wire.Drop()
					}
				}
			})
			const bursts, rounds = 4, 20
			var pieces [][]byte
			for i := range bursts * virtionet.MaxBurst {
				pieces = append(pieces, withHeader(1, frame(i), virtionet.Header{}))
			}
			for range rounds {
				good.arrive(pieces...)
				for i := range pieces {
					got, err := rigs[1].wire.Pop()
					must(t, err)
					if !bytes.Equal(got, frame(i)) {
						t.Fatalf("frame %d of the other device differs", i)
					}
				}
			}
			rigs[1].passes(good)
			end()
			if len(rigs[0].sessions)+len(rigs[1].sessions) > 0 {
				t.Error("a session has ended")
			}
			modest.mu.Lock()
			seen := modest.seen
			modest.mu.Unlock()
			if len(seen) < rounds*len(pieces) {
				t.Fatalf("%d frames of the other device were noted, want %d", len(seen), rounds*len(pieces))
			}
			for at := 0; at+len(pieces) < len(seen); at += len(pieces) {
				if moved := seen[at+len(pieces)-1] - seen[at]; moved > (bursts+1)*virtionet.MaxBurst {
					t.Errorf("the greedy driver VM had %d frames served during %d of the other one", moved, len(pieces))
				}
			}
		})
	}
}
