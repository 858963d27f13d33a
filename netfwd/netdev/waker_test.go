package netdev_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// An instance tells of both descriptors while someone watches, and of none else.
func TestWaker(t *testing.T) {
	w, err := netdev.NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	var fds [2]int
	for i := range fds {
		if fds[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[i])
	}
	readable := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.FDs()[0]), Events: unix.POLLIN}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for i, fd := range fds {
		if !w.Watch(fds[0], fds[1], unix.EPOLLIN) || readable() {
			t.Fatal("nothing has come")
		}
		unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		for range 2 { // nothing empties it
			if !readable() {
				t.Errorf("descriptor %d wakes no one", i)
			}
		}
		if w.Rest(); readable() {
			t.Errorf("descriptor %d wakes who does not sleep", i)
		}
		if !w.Watch(fds[0], fds[1], unix.EPOLLIN) || !readable() {
			t.Errorf("what came to descriptor %d before wakes no one", i)
		}
		var b [8]byte
		unix.Read(fd, b[:])
		w.Rest()
	}
	if !w.Watch(fds[0], -1, unix.EPOLLIN) || readable() || !w.Watch(fds[0], -1, unix.EPOLLIN|unix.EPOLLOUT) || !readable() {
		t.Error("room wakes no one")
	}
	if w.Watch(-1, -1, unix.EPOLLIN) {
		t.Error("no descriptor can be watched")
	}
	w.Rest()
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
