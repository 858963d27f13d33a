// Package beside runs this program once more, beside itself, as a process that keeps one privilege when
// vvufwd gives all of them up (package confine), and does one thing with it until vvufwd ends. Packages keeper,
// upkeep and reopen say what.
//
// Vvufwd executes itself meanwhile, and its lines to the process pass on to what it becomes.
package beside

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
)

// Role is what such a process is.
type Role struct {
	Name        string // after the program's in a list of processes
	Environment string // variable that marks the process; the value is what Start was told
}

// FirstFD is the descriptor in the process of the first file that Start was given. The others follow.
const FirstFD = 3

// Start starts the process, whose main must notice that by Is. It shares the standard output and error, and has the files,
// which stay the caller's. PID 1's child has no path of its own that is sure to be there; /proc is. A
// Ctrl-C on a terminal is for vvufwd: it would end the process until that has come to ignore it.
func (r Role) Start(told string, files []*os.File) (*os.Process, error) {
	return os.StartProcess("/proc/self/exe", []string{os.Args[0] + "-" + r.Name}, &os.ProcAttr{
		Files: append([]*os.File{nil, os.Stdout, os.Stderr}, files...),
		Env:   append(os.Environ(), r.Environment+"="+told), Sys: &syscall.SysProcAttr{Setpgid: true},
	})
}

// Is reports whether this process was started in the role.
func (r Role) Is() bool { return r.Told() != "" }

// Told is what Start was told.
func (r Role) Told() string { return os.Getenv(r.Environment) }

// IgnoreSignals is what a process does first, if anything is before Begin. Signals to all of a service's processes are for
// vvufwd, which the process ends with. Of a terminal it is in the background, and may have something to say all the same.
func IgnoreSignals() {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTTOU)
}

// Begin is what a process does first. If it shall be confined it executes itself for that, once, and Begin returns only if
// that failed; what else takes its privileges follows, and then policy.Finish.
func Begin(policy confine.Policy, confined bool) error {
	IgnoreSignals()
	if confined && !confine.Started() {
		return policy.Start(os.Args, nil, nil) // descriptors and signals stay as they are
	}
	return nil
}
