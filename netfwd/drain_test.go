package netfwd

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever shares an eventfd can make it blocking and take the event between our
// poll and our read.
func TestDrainNeverWaits(t *testing.T) {
	l, err := joinLoop([]Port{newVM(t, "a"), newVM(t, "b")}, Config{CPU: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	blocking, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	full, err := unix.Eventfd(7, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{blocking, full} {
		l.poll = append(l.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN, Revents: unix.POLLIN})
	}
	done := make(chan struct{})
	go func() { l.drain(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the loop waits for an event that someone else took")
		unix.Write(blocking, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		<-done
	}
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(full), Events: unix.POLLIN}}, 0); n != 0 {
		t.Error("an event that was there is there still")
	}
	unix.Close(blocking)
	unix.Close(full)
}
