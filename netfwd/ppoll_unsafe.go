package netfwd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// briefPoll is unix.Ppoll without a word to Go's scheduler: the loop keeps its place (P)
// meanwhile. So it goes on at once when it wakes up, and Go's monitor, which looks every 20 us for
// such places to take away, and has to be woken when one is taken back, stays asleep. But
// no one else can use the place, and who stops the world has to interrupt the call with a
// signal, which is what he does: it is for short times.
func briefPoll(fds []unix.PollFd, timeout *unix.Timespec) (n int) {
	got, _, errno := unix.RawSyscall6(unix.SYS_PPOLL,
		uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	if errno != 0 {
		return -1 // a short sleep
	}
	return int(got)
}
