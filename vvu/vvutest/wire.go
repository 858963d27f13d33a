package vvutest

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Wire is the other port of a pair, played by the test: what it pushes goes to the
// VM, and what comes from the VM it pops. Push and Pop may be called while the
// loop runs; the other methods are the loop's.
type Wire struct {
	wake int

	mu       sync.Mutex
	cond     *sync.Cond
	toVM     [][]byte
	held     [][]byte
	fromVM   [][]byte
	room     int // frames that are taken yet; negative: any number
	counters virtionet.Counters
}

// NewWire returns a wire without frames.
func NewWire(t testing.TB) *Wire {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	w := &Wire{wake: fd, room: -1}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// Push sends frames towards the VM.
func (w *Wire) Push(frames ...[]byte) {
	w.mu.Lock()
	w.toVM = append(w.toVM, frames...)
	w.mu.Unlock()
	signal(w.wake)
}

// Narrow lets the wire take so many frames more, and then none; any number if n is
// negative.
func (w *Wire) Narrow(n int) {
	w.mu.Lock()
	w.room = n
	w.mu.Unlock()
	signal(w.wake)
}

// Pop waits for a frame from the VM.
func (w *Wire) Pop() ([]byte, error) {
	late := time.AfterFunc(Patience, w.cond.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(Patience)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.fromVM) == 0 {
		if !time.Now().Before(deadline) {
			return nil, errors.New("no frame comes from the VM")
		}
		w.cond.Wait()
	}
	f := w.fromVM[0]
	w.fromVM = w.fromVM[1:]
	return f, nil
}

// Waiting is how many pushed frames the loop has not yet got rid of.
func (w *Wire) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.toVM) + len(w.held)
}

// Discard forgets frames in both directions that no one has asked for.
func (w *Wire) Discard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toVM, w.fromVM = nil, nil
}

// Drop forgets what came from the VM.
func (w *Wire) Drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fromVM = nil
}

// Name implements netfwd.Port, as do the methods below.
func (w *Wire) Name() string { return "wire" }

// WakeFDs are what wakes who sleeps.
func (w *Wire) WakeFDs() []int { return []int{w.wake} }

// Receive hands out frames for the VM.
func (w *Wire) Receive(b *virtionet.Burst) (worked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	frames := b.General()
	n := min(len(frames), len(w.toVM))
	w.held, w.toVM = append(w.held, w.toVM[:n]...), w.toVM[n:]
	for i := range n {
		frames[i] = virtionet.Frame{Data: [][]byte{w.held[i]}, Len: len(w.held[i])}
	}
	b.Truncate(n)
	return n > 0
}

// Release gives frames up.
func (w *Wire) Release(_ *virtionet.Burst, first, end int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = w.held[end-first:]
	w.counters.RxPackets += uint64(end - first)
}

// Transmit takes frames of the VM.
func (w *Wire) Transmit(b *virtionet.Burst, first, end int) (done int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room >= 0 {
		end = min(end, first+w.room)
		w.room -= end - first
	}
	for _, f := range b.Frames(first, end) {
		w.fromVM = append(w.fromVM, bytes.Join(f.Data, nil))
	}
	w.counters.TxPackets += uint64(end - first)
	w.cond.Broadcast()
	return end - first
}

// EnableKicks reports whether frames wait, and whether there is room.
func (w *Wire) EnableKicks(forRoom bool) (frames, room bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.toVM) > 0, forRoom && w.room != 0
}

// DisableKicks does nothing: who pushes wakes the loop in any case.
func (w *Wire) DisableKicks() {}

// Notify does nothing: no one on the wire is told.
func (w *Wire) Notify() {}

// Recover drops what is held.
func (w *Wire) Recover() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = nil
}

// Counters are the wire's counters.
func (w *Wire) Counters() *virtionet.Counters { return &w.counters }
