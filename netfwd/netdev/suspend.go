package netdev

import (
	"time"

	"golang.org/x/sys/unix"
)

// Resumer is an Interface that has something to do after the machine was suspended.
type Resumer interface {
	// Resume says that it was, and runs again. Look comes next.
	Resume()
}

// sleepWatch notices that the machine was suspended: one of the kernel's clocks goes on then, and the other does not.
type sleepWatch struct {
	clock func(id int32) time.Duration // kernelClock, but in tests
	ahead time.Duration                // the one is of the other, at most
	known bool
}

// A machine has slept for longer than this, for which clocks need not agree.
const shortestSleep = time.Millisecond

// slept reports whether the machine was suspended since the last call.
func (w *sleepWatch) slept() (yes bool) {
	before := w.clock(unix.CLOCK_MONOTONIC)
	then := w.clock(unix.CLOCK_BOOTTIME)
	after := w.clock(unix.CLOCK_MONOTONIC)
	least, most := then-after, then-before // whatever else had its turn between the calls
	yes = w.known && least > w.ahead+shortestSleep
	if yes || !w.known || most < w.ahead {
		w.ahead = most
	}
	w.known = true
	return yes
}

func kernelClock(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
