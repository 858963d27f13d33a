package vring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"vvufwd/virtio/order"
)

// storeBuffering is the pattern behind every notification: each side stores its
// own field, then loads the other's. If both load values from before the stores,
// a producer saw no wish for a kick and a consumer saw no work: both sleep for
// ever.
type storeBuffering struct {
	x, y  *uint16 // one cache line each
	fence func()  // between store and load
}

// run lets two threads store 1, 2, ... rounds to their own field and note after
// each store what the other's field holds. They are not in step: the notes tell.
//
// Side 0 at step i saw side 1 at step seen[0][i], so it missed the next one, j.
// If at j side 1 in turn missed i, each store was overtaken by the load after it.
// It returns how many steps of side 0 that happened to, and in how many the two
// were close enough for it: side 0 saw the other neither before its first step
// nor after its last.
func (s storeBuffering) run(rounds int) (lost, near int) {
	order.StoreRelease16(s.x, 0)
	order.StoreRelease16(s.y, 0)
	seen := [2][]uint16{make([]uint16, rounds+1), make([]uint16, rounds+1)}
	var ready atomic.Int32
	var done sync.WaitGroup
	for side := range 2 {
		own, other := s.x, s.y
		if side == 1 {
			own, other = s.y, s.x
		}
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
			notes := seen[side]
			for i := 1; i <= rounds; i++ {
				order.StoreRelease16(own, uint16(i))
				s.fence()
				notes[i] = load16(other)
			}
		})
	}
	done.Wait()
	for i := 1; i <= rounds; i++ {
		j := int(seen[0][i]) + 1
		if j == 1 || j > rounds {
			continue
		}
		near++
		if int(seen[1][j]) < i {
			lost++
		}
	}
	return lost, near
}

// A fence between publishing and looking makes the lost wake-up impossible. The
// figure without fence is logged: it tells whether this machine shows the
// difference at all, which one that runs the threads in turns does not.
func TestLitmusStoreBuffering(t *testing.T) {
	const batch = 65_000 // steps are 16 bits wide
	batches := 40
	if raceEnabled {
		batches = 4
	}
	base := sharedWords(t, 4096)
	play := func(fence func()) (lost, near int) {
		deadline := time.Now().Add(700 * time.Millisecond)
		for b := 0; b < batches || near == 0; b++ {
			s := storeBuffering{x: half(base, 0), y: half(base, 1024+2), fence: fence}
			l, n := s.run(batch)
			lost, near = lost+l, near+n
			if time.Now().After(deadline) {
				break
			}
		}
		return lost, near
	}
	bare, steps := play(func() {})
	t.Logf("without fence: loads overtook stores on both sides in %d of %d steps", bare, steps)
	lost, steps := play(order.Fence)
	t.Logf("with fence: in %d of %d steps", lost, steps)
	if lost != 0 {
		t.Errorf("loads overtook stores on both sides in %d of %d steps in spite of the fence", lost, steps)
	}
	if steps == 0 && runtime.GOMAXPROCS(0) > 1 {
		t.Error("the two sides never ran at the same time")
	}
}

// What is stored before an index is published is seen by whoever has seen the
// index (message passing): one side counts up in two plain words around a
// release store, the other must never find the index ahead of the words.
func TestLitmusMessagePassing(t *testing.T) {
	rounds := 1_000_000
	if raceEnabled {
		rounds = 100_000
	}
	base := sharedWords(t, 4096)
	idx := half(base, 2)
	slots := (*[256]uint64)(unsafe.Add(base, 1024)) // written plainly, like descriptors
	ack := (*atomic.Uint32)(unsafe.Add(base, 128))
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for i := range rounds {
			for spins := 0; uint32(i)-ack.Load() >= uint32(len(slots)); spins++ {
				if spins > 2000 {
					runtime.Gosched()
				}
			}
			slots[i%len(slots)] = uint64(i) * 0x9e3779b97f4a7c15
			order.StoreRelease16(idx, uint16(i+1))
		}
	})
	wrong := 0
	for i, spins := 0, 0; i < rounds; {
		n := int(load16(idx) - uint16(i))
		if n == 0 {
			if spins++; spins > 2000 {
				runtime.Gosched()
			}
			continue
		}
		for spins = 0; n > 0; n-- {
			if slots[i%len(slots)] != uint64(i)*0x9e3779b97f4a7c15 {
				wrong++
			}
			i++
		}
		ack.Store(uint32(i))
	}
	done.Wait()
	if wrong != 0 {
		t.Errorf("%d of %d items were older than the index that announced them", wrong, rounds)
	}
}
