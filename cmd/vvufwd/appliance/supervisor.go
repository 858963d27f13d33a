package appliance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long the child may take to stop before it is killed, and how long
// it may take to die before the machine is powered off regardless. Giving devices
// back takes the child well below a second; for the keeper, which does that in part, it waits somewhat less than this.
const stopGrace = 10 * time.Second

// supervisor watches over one child as PID 1 must: it reaps every other process that
// ends up with it, too. run may be called once.
type supervisor struct {
	start  func() (pid int, err error)
	wait   func(status *unix.WaitStatus) (pid int, err error) // blocks until any child ends
	signal func(pid int, sig unix.Signal) error
	heard  func() // waits, but not for long, until what an ended child said has been passed on

	stops   <-chan os.Signal // each asks for a stop
	console io.Reader        // an Enter asks for a stop; nil if there is no console
	out     io.Writer        // for people; it must not wait for them
	grace   time.Duration
}

// childEnd is how the child ended, or why that is not known.
type childEnd struct {
	status unix.WaitStatus
	err    error
}

// run starts the child and returns its exit code when it has ended: 1 if it was
// killed, could not be started, or does not even die. A stop that is asked for so early
// that the child does not listen yet is a success too.
func (s *supervisor) run() int {
	pid, err := s.start()
	if err != nil {
		s.say("cannot start itself a second time: %v", err)
		return 1
	}
	ended := make(chan childEnd, 1)
	go s.reap(pid, ended)
	enter := watchEnter(s.console)

	var overdue <-chan time.Time
	killed := false
	stop := func(why string) {
		if overdue != nil {
			return // under way
		}
		s.say("stopping: %s", why)
		s.send(pid, unix.SIGTERM)
		overdue = time.After(s.grace)
	}
	for {
		select {
		case end := <-ended:
			s.heard()
			switch {
			case killed:
				return 1 // that much was said already
			case overdue != nil && end.status.Signaled() && end.status.Signal() == unix.SIGTERM:
				s.say("stopped before it had begun")
				return 0
			}
			return s.exitCode(end)
		case sig := <-s.stops:
			stop(sig.String())
		case <-enter:
			stop("Enter on the console")
		case <-overdue:
			if killed {
				s.say("the process does not die, leaving it")
				return 1
			}
			s.say("not stopped within %v, killing the process", s.grace)
			s.send(pid, unix.SIGKILL)
			killed = true
			overdue = time.After(s.grace)
		}
	}
}

// reap waits for children until the one with the given pid has ended.
func (s *supervisor) reap(pid int, ended chan<- childEnd) {
	for {
		var status unix.WaitStatus
		got, err := s.wait(&status)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			// There is no child left, so we missed its end. That cannot happen, but must
			// not leave the machine hanging either.
			ended <- childEnd{err: err}
			return
		case got == pid && (status.Exited() || status.Signaled()):
			ended <- childEnd{status: status}
			return
		}
	}
}

func (s *supervisor) send(pid int, sig unix.Signal) {
	if err := s.signal(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		s.say("send %v: %v", sig, err)
	}
}

// exitCode returns the child's exit code, and says how it ended if it has none.
func (s *supervisor) exitCode(end childEnd) int {
	status := end.status
	if end.err != nil {
		s.say("wait for the process: %v", end.err)
		return 1
	}
	if status.Exited() {
		return status.ExitStatus()
	}
	name := unix.SignalName(status.Signal())
	switch status.Signal() {
	case unix.SIGABRT:
		s.say("the process crashed (%s): a report is above", name)
	case unix.SIGKILL:
		s.say("the process was killed (%s); if the kernel was out of memory, give the virtual machine more", name)
	default:
		s.say("the process was killed (%s)", name)
	}
	return 1
}

func (s *supervisor) say(format string, args ...any) {
	fmt.Fprintf(s.out, "vvufwd: "+format+"\n", args...)
}
