package session

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/await"
	"vvufwd/virtio/peerfd"
)

// watch waits for the kicks of one ring. Its goroutine owns it, but for over and stop.
type watch struct {
	kick     int  // a duplicate of the guest's eventfd, or negative: the ring is polled
	wake     int  // our own, or negative
	over     bool // guarded by Session.mu
	patience await.Patience
	drain    peerfd.Drainer
}

const (
	// lostKick and lostKickMost are when the ring is looked at without a kick, should one be lost on
	// the way (a device that has no vector for it at that moment drops it).
	lostKick     = 250 * time.Millisecond
	lostKickMost = 2 * time.Second
	// pollPause is that for a ring whose guest does not kick.
	pollPause = 10 * time.Millisecond
)

// newWatch makes a watch. The eventfd stays the caller's, who may close it whenever he
// likes: a duplicate is what is waited for.
func newWatch(kick int) *watch {
	w := &watch{kick: -1, wake: -1}
	if kick >= 0 {
		// Without descriptors to spare the ring is polled.
		if fd, err := unix.FcntlInt(uintptr(kick), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			w.kick = fd
		}
	}
	if fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err == nil {
		w.wake = fd
	}
	if w.kick >= 0 && w.wake >= 0 {
		w.patience = await.Patience{First: lostKick, Most: lostKickMost}
	} else {
		w.patience = await.Patience{First: pollPause, Most: pollPause}
	}
	return w
}

// stop ends the watch's goroutine, soon. Session.mu is held.
func (w *watch) stop() {
	w.over = true
	if w.wake >= 0 {
		one := [8]byte{1}
		unix.Write(w.wake, one[:])
	}
}

// wait sleeps until the guest kicks, the watch is stopped, or it is time to look anyway.
// It never waits longer, whatever others who have the guest's eventfd do to it.
func (w *watch) wait() {
	if w.patience.Readable(context.Background(), w.kick, w.wake) && w.kick >= 0 {
		w.drain.Drain(w.kick)
	}
}

// close gives the descriptors back.
func (w *watch) close() {
	for _, fd := range []int{w.kick, w.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
