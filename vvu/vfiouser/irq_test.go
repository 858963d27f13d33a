package vfiouser

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// listener is an eventfd as its client has it, and as the server does.
func listener(t *testing.T, events *peerfd.Set) (e *peerfd.Event, fd int) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = events.Event(own); err != nil {
		t.Fatal(err)
	}
	return e, fd
}

// came takes an interrupt, if one comes before patience ends, in milliseconds.
func came(fd, patience int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, patience)
	var b [8]byte
	unix.Read(fd, b[:])
	return n == 1
}

func newTestInterrupts(t *testing.T) (*peerfd.Set, *interrupts) {
	t.Helper()
	events, err := peerfd.NewSet()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { events.Close() })
	q := newInterrupts(events, 1)
	t.Cleanup(q.close)
	return events, q
}

// TestSignalAfterVectorMoved is the moment between the choice of an eventfd and its use.
func TestSignalAfterVectorMoved(t *testing.T) {
	events, q := newTestInterrupts(t)
	first, old := listener(t, events)
	second, fd := listener(t, events)
	defer unix.Close(old)
	defer unix.Close(fd)
	chosen := func() *peerfd.Event {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.raise(0)
	}

	q.assign(0, []*peerfd.Event{first})
	e := chosen()
	q.assign(0, []*peerfd.Event{second}) // moved
	q.ring(0, e)
	if !came(fd, 20000) {
		t.Error("an interrupt is lost because the vector has got another eventfd meanwhile")
	}

	e = chosen()
	q.assign(0, []*peerfd.Event{nil}) // masked
	q.ring(0, e)
	if !q.pending(0) {
		t.Error("an interrupt is not pending although the vector has lost its eventfd meanwhile")
	}
	third, fd := listener(t, events)
	defer unix.Close(fd)
	q.assign(0, []*peerfd.Event{third})
	if !came(fd, 20000) || q.pending(0) {
		t.Error("unmasking does not deliver a pending interrupt")
	}
}

// TestSignalWhileVectorMoves: a forwarder sleeps until an interrupt comes, for ever. So one that is raised while
// the client masks the vector or gives it another eventfd, as Linux does to move an interrupt to
// another CPU, must reach the old one before the client has let it go, or the new one.
func TestSignalWhileVectorMoves(t *testing.T) {
	events, q := newTestInterrupts(t)
	event, old := listener(t, events)
	q.assign(0, []*peerfd.Event{event})
	for round := range 4000 {
		event, fd := listener(t, events)
		done := make(chan struct{})
		go func() {
			defer close(done)
			q.signal(0)
		}()
		for range round % 7 {
			runtime.Gosched()
		}
		if round%2 == 1 {
			q.assign(0, []*peerfd.Event{nil}) // masked
		}
		q.assign(0, []*peerfd.Event{event})
		if !came(old, 0) && !came(fd, 20000) {
			t.Fatalf("round %d: the interrupt is lost", round)
		}
		<-done
		unix.Close(old)
		old = fd
		came(old, 0) // one too many is allowed
	}
	unix.Close(old)
}
