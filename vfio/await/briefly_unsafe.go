package await

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Briefly is unix.Ppoll without a word to Go's scheduler, for a loop with a thread of its own: it keeps its place (P)
// meanwhile. So it goes on at once when it wakes up, and Go's monitor, which looks every 20 us for
// such places to take away, and has to be woken when one is taken back, stays asleep. But
// no one else can use the place, and who stops the world has to interrupt the call with a
// signal, which is what he does: it is for short times, and for programs with more places than such loops.
func Briefly(fds []unix.PollFd, timeout *unix.Timespec) (n int) {
	got, _, errno := unix.RawSyscall6(unix.SYS_PPOLL,
		uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	if errno != 0 {
		return -1 // a short sleep
	}
	return int(got)
}

// OnTime lets the calling thread wake up at the nanosecond, and not with others to save wake-ups. Which thread runs a goroutine may
// change, and the program may have been started to be late.
func OnTime() { unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 1, 0) }
