package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// startedEnv is in the environment of a process that Start has made: a handover.
const startedEnv = "VVUFWD_CONFINED"

// handover is what a process knows from the one it was.
type handover struct {
	PID   int            // for whom it is: children inherit the environment too
	Name  string         // of the process, for ps
	Files map[string]int // descriptors

	Names map[string]string // what their errors call them
}

// Start gives up what the program does not need to open its ports, by executing it
// again in this process, with argv for arguments. Started is true then, and the files
// are those of Inherited; here they are closed. It returns only if it fails, and the
// program should end then: the caller's goroutine may have lost privileges, and only it.
//
// Signals that ask the program to stop must not be caught but by CatchStop, before files
// are made that have to be taken away again. If one has come Start fails with ErrStopped.
// One that comes later ends the process at once, until the program that is executed catches it: the
// Go run-time lets no program start with SIGINT or SIGTERM blocked. For some milliseconds what
// has been made must be such that it can be left, or that another process takes it away.
//
// What a thread gives up the other threads of a Go program keep, and to make all of
// them do the same at once is not possible where there is cgo, and has been seen to hang
// where there is none. A program that is executed has one thread, and what that lacks
// all others will lack. The thread that executes is the only one to survive. What the parent has asked for its own
// death (PR_SET_PDEATHSIG) goes on being in force.
func (p Policy) Start(argv []string, files map[string]*os.File, stop Stop) error {
	err := p.start(argv, files, stop)
	if errors.Is(err, ErrStopped) {
		return err
	}
	return failure(fmt.Errorf("execute itself again: %w", err))
}

func (p Policy) start(argv []string, files map[string]*os.File, stop Stop) error {
	runtime.LockOSThread() // and never unlocked: this thread is not good for anything else any more
	h := handover{PID: os.Getpid(), Name: processName, Files: map[string]int{}, Names: map[string]string{}}
	defer func() { // what is open in a program that goes on, if only to clean up, keeps devices busy
		for _, fd := range h.Files {
			_ = unix.Close(fd)
		}
	}()
	for what, f := range files {
		fd, err := inheritable(f)
		if err != nil {
			return fmt.Errorf("hand %s over: %w", what, err)
		}
		h.Files[what], h.Names[what] = fd, f.Name()
	}
	note, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := p.restrict(); err != nil {
		return err
	}
	if stop.came() {
		return ErrStopped
	}
	if err := parentsDeath.follow(); err != nil {
		return err
	}
	slowMonitor()
	return syscall.Exec("/proc/self/exe", argv, append(environment(os.Environ()), startedEnv+"="+string(note)))
}

// arenasEnv tells glibc how many arenas its malloc may have. Unless told it makes ever more,
// one for each thread that finds the others taken, and asks how many processors there are once it has
// eight: it opens a file in /sys for that, which no one can do who is confined. It goes on
// without, but the refusal is in the kernel's log. With cgo the Go run-time takes some bytes of
// malloc when it starts a thread, and that is all; one arena does for that.
const arenasEnv = "MALLOC_ARENA_MAX"

// environment is that of the program that Start executes.
func environment(own []string) []string {
	own = slices.DeleteFunc(slices.Clone(own), func(v string) bool { return strings.HasPrefix(v, arenasEnv+"=") })
	return append(own, arenasEnv+"=1")
}

// ErrStopped is why a program is not started that was asked to stop.
var ErrStopped = errors.New("stopped by a signal")

// Stop tells of a signal that has asked the program to stop. The zero value tells of none.
type Stop chan os.Signal

// CatchStop catches SIGINT and SIGTERM until Start.
func CatchStop() Stop {
	s := make(Stop, 1)
	signal.Notify(s, unix.SIGINT, unix.SIGTERM)
	return s
}

// Asked reports whether there was one so far.
func (s Stop) Asked() bool { return len(s) > 0 }

// came ends the catching and reports whether there was anything to catch.
func (s Stop) came() bool {
	if s == nil {
		return false
	}
	signal.Stop(s) // what has arrived is in s then
	return len(s) > 0
}

// restrict takes from the calling thread what need not be there even to open ports.
func (p Policy) restrict() error {
	if err := forbidPrivileges(); err != nil {
		return err
	}
	if err := p.restrictFiles(); err != nil {
		return fmt.Errorf("confine file access with Landlock: %w", err)
	}
	return dropCapabilities(p.capabilities())
}

// inheritable is a descriptor of f's file that survives an exec.
func inheritable(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD, 3) })
	return fd, errors.Join(e, err)
}

// received is the handover that this process got, nil if there was none. It takes it out
// of the environment.
var received = sync.OnceValue(func() *handover {
	text, ok := os.LookupEnv(startedEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(startedEnv)
	var h handover
	if json.Unmarshal([]byte(text), &h) != nil || h.PID != os.Getpid() {
		return nil
	}
	for _, fd := range h.Files {
		unix.CloseOnExec(fd)
	}
	return &h
})

// processName is the process's name for ps, which is that of its main thread.
var processName string

// Packages are initialised on the main thread. Who was started again is called "exe" at
// first.
func init() {
	if h := received(); h != nil {
		nameThread(h.Name)
	}
	processName = threadName()
}

// Started reports whether this process was made by Start.
func Started() bool { return received() != nil }

// Inherited takes over a file that was given to Start, or nil if there is none of that
// name or it was taken before. Its own name is the one that it had there.
func Inherited(name string) *os.File {
	h := received()
	if h == nil {
		return nil
	}
	fd, ok := h.Files[name]
	if !ok {
		return nil
	}
	delete(h.Files, name)
	return os.NewFile(uintptr(fd), h.Names[name])
}
