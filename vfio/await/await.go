// Package await waits for eventfds and the like: where time does not matter much, in the control of
// a device, with Readable, and in a loop of its own with Briefly.
//
// Who waits in poll(2) keeps his place in Go's scheduler for some 10 ms, until Go's monitor has
// taken it away, and the monitor naps about sixty times meanwhile, 20 us at first. In an
// idle program those are nearly all of its wake-ups, and in an emulated machine they cost a
// hundred times as much as the wait. A goroutine that waits for the run-time's own poller
// costs nothing of that.
package await

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Forever is a limit that does not end a wait.
const Forever time.Duration = -1

// fallback bounds a wait in poll(2), which the end of a context cannot interrupt.
const fallback = 250 * time.Millisecond

// Readable waits until one of these descriptors is readable, which it returns, or the limit is over or
// ctx is done. Negative descriptors are passed over. It reads nothing. The descriptors must stay open meanwhile.
// Without descriptors to spare for the wait itself it may return early.
func Readable(ctx context.Context, limit time.Duration, fds ...int) bool {
	if ctx.Err() != nil {
		return false
	}
	set, err := newSet(fds)
	if err != nil {
		return poll(limit, fds)
	}
	defer set.Close()
	conn, err := set.SyscallConn()
	if err != nil {
		return poll(limit, fds)
	}
	if limit >= 0 {
		if err := set.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return poll(limit, fds) // the run-time's poller does not take it
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = set.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	ready := false
	err = conn.Read(func(fd uintptr) bool {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(fd), events[:], 0)
		ready = n > 0
		return ready || err != nil && err != unix.EINTR
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return poll(limit, fds)
	}
	return ready
}

// newSet is an epoll instance with these descriptors, as a file that the run-time waits for. It is readable
// when one of them is.
func newSet(fds []int) (*os.File, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	err = unix.SetNonblock(fd, true) // tells os.NewFile to let the run-time wait
	for _, watched := range fds {
		if watched >= 0 && err == nil {
			err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, watched, &unix.EpollEvent{Events: unix.EPOLLIN})
		}
		if errors.Is(err, unix.EEXIST) { // named twice
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "epoll"), nil
}

// poll waits in poll(2).
func poll(limit time.Duration, fds []int) bool {
	if limit < 0 || limit > fallback {
		limit = fallback
	}
	polled := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		polled[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, _ := unix.Poll(polled, int(limit/time.Millisecond))
	return n > 0
}

// Patience is how long to wait without a word before looking anyway, in case that an interrupt was lost. Each
// time in which nothing comes the next one is twice as long, up to Most: to wake up costs an
// emulated machine much.
type Patience struct {
	First, Most time.Duration

	last time.Duration // 0 if something came
}

// Readable is Readable with that limit. It returns early if ctx is done.
func (p *Patience) Readable(ctx context.Context, fds ...int) bool {
	p.last = min(max(2*p.last, p.First), p.Most)
	ready := Readable(ctx, p.last, fds...)
	if ready {
		p.last = 0
	}
	return ready
}
