package peerfd

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Event is an eventfd that a peer shares with us. It is safe for concurrent use: who
// rings one that someone else closes rings it still or does nothing, and never
// another file that has got the same number meanwhile.
type Event struct {
	set *Set
	fd  int

	// users is how many calls are under way that use fd, and below zero, counted from
	// closedUsers, when no one may begin one any more.
	users   atomic.Int64
	request completion // for asynchronous I/O
	writer  writer     // for kernels without
}

// closedUsers is added to users when an Event is closed.
const closedUsers = math.MinInt64 / 2

// Event takes over a descriptor that a peer has sent. If it is no eventfd the caller
// still has it, and should let the peer's Bin discard it.
func (s *Set) Event(fd int) (*Event, error) {
	if err := checkEvent(fd); err != nil {
		return nil, err
	}
	s.uses.Add(1)
	e := &Event{set: s, fd: fd}
	e.request.prepare(s, fd)
	return e, nil
}

// checkEvent tells whether a descriptor is an eventfd. It asks the kernel where the
// descriptor leads, and nothing of the file itself. A file with such a name has a
// slash before it.
func checkEvent(fd int) error {
	kind, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return fmt.Errorf("find out what kind of descriptor it is: %w (is /proc mounted?)", err)
	}
	if kind != "anon_inode:[eventfd]" {
		return fmt.Errorf("the descriptor is %s, not an eventfd", kind)
	}
	return nil
}

// Use calls f with the descriptor, which stays open at least until f returns, or
// returns false if the event is closed. f may close it.
func (e *Event) Use(f func(fd int)) bool {
	if !e.enter() {
		return false
	}
	defer e.exit()
	f(e.fd)
	return true
}

// Closed reports whether someone has closed the event.
func (e *Event) Closed() bool { return e.users.Load() < 0 }

// FD is the descriptor, for who polls it. It is -1 for no event (nil), and anyone's
// after Close.
func (e *Event) FD() int {
	if e == nil {
		return -1
	}
	return e.fd
}

// Ring adds one to the counter, or leaves it at its maximum, and wakes who waits for
// it. It does nothing to no event (nil). It does not wait and does not allocate.
func (e *Event) Ring() {
	if e == nil || !e.enter() {
		return
	}
	if !e.request.submit() {
		e.writer.ring(e)
	}
	e.exit()
}

// Close ends the use of an event, if there is one (not nil). The second time it does
// nothing.
func (e *Event) Close() {
	if e == nil {
		return
	}
	for n := e.users.Load(); n >= 0; n = e.users.Load() {
		if e.users.CompareAndSwap(n, n+1+closedUsers) { // with us as the last one
			e.writer.rescue(e)
			return
		}
	}
}

// enter begins a use of fd, unless the event is closed.
func (e *Event) enter() bool {
	for n := e.users.Load(); n >= 0; n = e.users.Load() {
		if e.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// exit ends a use; the last one after Close closes.
func (e *Event) exit() {
	if e.users.Add(-1) == closedUsers {
		unix.Close(e.fd)
		e.set.leave()
	}
}
