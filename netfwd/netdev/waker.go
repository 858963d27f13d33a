package netdev

import "golang.org/x/sys/unix"

// Waker is what a queue pair has a sleeping loop woken by: an epoll instance, see netfwd.Sleeper, which watches descriptors that
// no one must drain. It watches only from Watch to Rest, while the loop sleeps: whoever watches is gone through by the
// kernel for each frame that comes, asleep or not, which takes a tenth of what a small frame costs.
//
// It belongs to the goroutine that forwards, but for what makes and closes it.
type Waker struct {
	fds      [1]int // the epoll instance
	watching int    // the descriptor that is watched; 0: none
	further  int
	events   uint32
}

// NewWaker makes one.
func NewWaker() (Waker, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return Waker{fds: [1]int{fd}}, err
}

// Watch has the instance be readable while there are such events at a descriptor, or further has something to read, which is none
// if it is less than 0. It reports whether it could.
func (w *Waker) Watch(fd, further int, events uint32) bool {
	if events == w.events {
		return true
	}
	w.Rest()
	if unix.EpollCtl(w.fds[0], unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}) != nil {
		return false
	}
	w.watching, w.further, w.events = fd, -1, events
	if further < 0 {
		return true
	}
	w.further = further
	return unix.EpollCtl(w.fds[0], unix.EPOLL_CTL_ADD, further, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(further)}) == nil
}

// Rest ends that.
func (w *Waker) Rest() {
	if w.events == 0 {
		return
	}
	w.events = 0
	var none unix.EpollEvent
	_ = unix.EpollCtl(w.fds[0], unix.EPOLL_CTL_DEL, w.watching, &none) // it is not watched any more when it was closed
	if w.further >= 0 {
		_ = unix.EpollCtl(w.fds[0], unix.EPOLL_CTL_DEL, w.further, &none)
	}
}

// FDs are the instance.
func (w *Waker) FDs() []int { return w.fds[:] }

// Close closes it.
func (w *Waker) Close() error {
	if w.fds[0] < 0 {
		return nil
	}
	fd := w.fds[0]
	w.fds[0] = -1
	return unix.Close(fd)
}
