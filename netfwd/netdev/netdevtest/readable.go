package netdevtest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readable reports whether a descriptor becomes readable in time.
func readable(t testing.TB, fds []int, limit time.Duration) bool {
	t.Helper()
	var poll []unix.PollFd
	for _, fd := range fds {
		poll = append(poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for end := time.Now().Add(limit); ; {
		n, err := unix.Poll(poll, int(max(0, time.Until(end)).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}
