package appliance

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supervise is all that PID 1 does; it does not return. It starts this binary a second
// time, with the same arguments, as the process of which Supervised is true; reaps
// orphans; passes SIGTERM, SIGINT (also from Ctrl-Alt-Del), SIGPWR and an Enter on the
// console on to it as SIGTERM; and kills it if it has not stopped ten seconds later.
// When it has ended, for whatever reason, the last line on the console is
//
//	vvufwd: exit code N
//
// and the machine is powered off. N is 1 when the process was killed or crashed; a
// crash in the Go run-time's sense shows all goroutines.
//
// A console that no one reads stops neither of the two processes: what the child says
// comes through PID 1, which drops and counts what the console does not take (see
// outputs).
//
// In a process that is not PID 1 it exits with code 2 without doing anything.
func Supervise() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "vvufwd: only PID 1 can supervise")
		os.Exit(2)
	}
	out := newOutputs(os.Stdout, os.Stderr)
	end := thisPower(out.err, out.drain)
	defer func() {
		// A mistake in this goroutine must not become a kernel panic.
		if r := recover(); r != nil {
			fmt.Fprintf(out.err, "vvufwd: PID 1: %v\n%s", r, debug.Stack())
			end.off(1)
		}
	}()
	m := thisMachine(nil)
	for _, fs := range fileSystems {
		// /proc for the path of this binary, /dev for the console. Setup reports what
		// fails here: it tries again.
		if fs.kind == "proc" || fs.kind == "devtmpfs" {
			_ = m.mountOne(fs)
		}
	}
	if leadsNowhere(1) || leadsNowhere(2) {
		// There is nowhere to report an error to.
		_ = attachConsole("/dev/console")
	}
	out.compare() // which they are is settled now
	// Let Ctrl-Alt-Del be a SIGINT instead of an immediate restart.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)

	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
	// The run-time would end the process for these. No one reads the channel; to ignore
	// them properly would be inherited by the child.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)

	s := &supervisor{
		start:  func() (int, error) { return startChild(out) },
		wait:   func(status *unix.WaitStatus) (int, error) { return unix.Wait4(-1, status, 0, nil) },
		signal: unix.Kill,
		heard:  out.heard,
		stops:  stops,
		out:    out.err,
		grace:  stopGrace,
	}
	if isTerminal(os.Stdin) {
		s.console = os.Stdin
	}
	end.off(s.run())
}

// startChild runs this binary again, with the standard input and arguments that we have;
// its outputs are passed on. The caller must reap it.
func startChild(out *outputs) (pid int, err error) {
	files, begin, err := out.pipes()
	if err != nil {
		return 0, err
	}
	defer begin()
	attr := &syscall.ProcAttr{Env: childEnv(os.Environ()), Files: files}
	// os.Executable does not know our path: it looked before /proc was there. The kernel
	// puts it into the first argument; another init that made way for us may have put
	// anything there, or deleted the file.
	for _, binary := range []string{os.Args[0], "/proc/self/exe"} {
		if !filepath.IsAbs(binary) {
			continue
		}
		if pid, err = syscall.ForkExec(binary, os.Args, attr); err == nil {
			return pid, nil
		}
		err = &os.PathError{Op: "fork/exec", Path: binary, Err: err}
	}
	return 0, err
}

// childEnv is the environment of the child: the mark for Supervised, a setting that
// makes crashes end with SIGABRT, and what we have. Without that setting crashes would
// end with exit code 2, which is the code of a usage error. Where a name occurs twice
// the first one counts for Go.
func childEnv(environ []string) []string {
	return append([]string{supervisedEnv + "=1", "GOTRACEBACK=crash"}, environ...)
}
