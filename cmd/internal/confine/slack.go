package confine

import (
	"time"

	"golang.org/x/sys/unix"
)

// monitorNap is how late timers of the program may be that Start executes. It is the longest
// nap that Go's monitor takes anyway.
const monitorNap = 10 * time.Millisecond

// slowMonitor lets the timers of the calling thread, and so those of all threads of the program that it
// executes, be late (timer slack, prctl(2)). It is for the one thread that no one can get at: Go's monitor,
// which naps for 20 us fifty times and more whenever a thread comes back from a system call that
// has lasted, a sleep among them. Those naps are nearly all that an idle program does, and in an emulated machine
// each takes the processor, and its timers, 100 to 200 us away from whoever was woken up. With this they last
// as long as the last ones do anyway.
//
// Who needs to wake up in time sets his own thread's slack, as loops do.
func slowMonitor() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(monitorNap.Nanoseconds()), 0, 0, 0) // it only saves time
}
