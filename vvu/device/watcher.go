package device

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// watcher waits for the kicks of all rings on one goroutine. Its methods may be
// called by any, but for drain.
type watcher struct {
	epoll   int
	stop    int            // eventfd, ours alone
	drainer peerfd.Drainer // the goroutine's
	done    sync.WaitGroup
}

// newWatcher starts a watcher. kicked gets the tag of a descriptor that became
// readable, on the watcher's goroutine; it may come once more after remove.
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
	w.done.Go(func() { w.watch(kicked) })
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

// add watches e. Edge-triggered: each signal is reported, and one that no one
// takes away does not keep the watcher busy. One that has been removed by now is not
// watched.
func (w *watcher) add(e *peerfd.Event, tag kickTag) (err error) {
	e.Use(func(fd int) {
		err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd,
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: tag.ring, Pad: tag.serial})
		if e.Closed() {
			w.forget(fd)
		}
	})
	return err
}

// remove stops watching e and closes it. In this order for add, which may come at the
// same time: it either is before the close, or sees it.
func (w *watcher) remove(e *peerfd.Event) {
	e.Use(func(fd int) {
		e.Close()
		w.forget(fd)
	})
}

// forget stops watching a descriptor. Closing alone would not, as the peer has the
// same file open.
func (w *watcher) forget(fd int) {
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// drain takes a signal of e away and reports whether there was one. It is for kicked.
func (w *watcher) drain(e *peerfd.Event) (was bool) {
	e.Use(func(fd int) { was = w.drainer.Drain(fd) })
	return was
}

func (w *watcher) close() {
	unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	w.done.Wait()
	unix.Close(w.stop)
	unix.Close(w.epoll)
}
