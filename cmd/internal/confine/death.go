package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// death is what the process has been told to do about the death of its parent, by whoever started it: prctl(2),
// PR_SET_PDEATHSIG. It belongs to a thread, the main one, and the thread that executes the program again is another one.
type death struct {
	signal unix.Signal // 0: nothing
	parent int
}

// parentsDeath is that of the main thread, on which packages are initialised.
var parentsDeath = death{signal: deathSignal(), parent: unix.Getppid()}

// follow has the calling thread get the signal. If the parent has died meanwhile, no one sends it any more.
func (d death) follow() error {
	if d.signal == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(d.signal), 0, 0, 0); err != nil {
		return fmt.Errorf("keep the signal for the parent's death: %w", err)
	}
	if unix.Getppid() != d.parent {
		return unix.Kill(unix.Getpid(), d.signal)
	}
	return nil
}
