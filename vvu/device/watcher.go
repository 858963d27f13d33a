package device

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher waits for the kicks of all rings on one goroutine. Its methods may be
// called by any.
type watcher struct {
	epoll int
	stop  int // eventfd
	start sync.Once
	run   func()
	done  sync.WaitGroup
}

// newWatcher makes a watcher, whose goroutine starts with the first descriptor. Before that it would only be in the way of who
// confines the process: with a thread that waits in the kernel, changing all threads got stuck in one of 300 starts (Go 1.26).
// kicked gets the tag of a descriptor that became
// readable; it may come once more after remove.
func newWatcher(kicked func(tag kickTag)) (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: stopTag})
	}
	if err != nil {
		unix.Close(epoll)
		if stop >= 0 {
			unix.Close(stop)
		}
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w := &watcher{epoll: epoll, stop: stop}
	w.run = func() { w.watch(kicked) }
	return w, nil
}

// kickTag names a kick notifier: its ring, and which of all that the ring has had,
// for events of one that was replaced in the meantime.
type kickTag struct{ ring, serial int32 }

const stopTag = -1 // in place of the ring

func (w *watcher) watch(kicked func(kickTag)) {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return // the descriptor is ours and valid: nothing else can be
		}
		for _, e := range events[:n] {
			if e.Fd == stopTag {
				return
			}
			kicked(kickTag{e.Fd, e.Pad})
		}
	}
}

// add watches e. Edge-triggered: each signal is reported, and one that nobody
// takes away does not keep the watcher busy.
func (w *watcher) add(e *eventFD, tag kickTag) error {
	w.start.Do(func() { w.done.Go(w.run) })
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, e.fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: tag.ring, Pad: tag.serial})
}

// remove stops watching e. Closing alone would not, as the peer has the same
// file open.
func (w *watcher) remove(e *eventFD) {
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, e.fd, nil)
}

func (w *watcher) close() {
	(&eventFD{w.stop}).signal()
	w.done.Wait()
	unix.Close(w.stop)
	unix.Close(w.epoll)
}
