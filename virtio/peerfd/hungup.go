package peerfd

import "golang.org/x/sys/unix"

// HungUp reports whether the other side of a socket has closed it, or will send no more. What it has sent before may be there
// to read. It does not wait.
func HungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // POLLHUP is told unasked
	n, err := unix.Ppoll(p, new(unix.Timespec), nil)
	return n == 1 && err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLRDHUP) != 0
}
