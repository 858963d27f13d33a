package vvutest

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// signal adds one to an eventfd. A full counter is as good.
func signal(fd int) {
	one := [8]byte{1}
	unix.Write(fd, one[:])
}

// take takes an eventfd's signals away and reports whether there were any.
func take(fd int) bool {
	var b [8]byte
	n, _ := unix.Read(fd, b[:])
	return n == 8
}

// wait waits for a signal and takes it away.
func wait(fd int, timeout time.Duration) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(timeout); ; {
		n, err := unix.Poll(p, max(0, int(time.Until(deadline)/time.Millisecond)))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("no signal within %v", timeout)
		default:
			take(fd)
			return nil
		}
	}
}
