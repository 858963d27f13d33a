package appliance

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testChild is a child of a supervisor, and its kernel.
type testChild struct {
	*supervisor
	stops  chan os.Signal
	ends   chan end
	output syncBuffer

	mu      sync.Mutex
	signals []unix.Signal // received by the child
	// onSignal is how the child takes a signal.
	onSignal func(unix.Signal)
}

type end struct {
	pid    int
	status unix.WaitStatus
	err    error
}

const childPID = 42

func exited(code int) end          { return end{pid: childPID, status: unix.WaitStatus(code << 8)} }
func killedBy(sig unix.Signal) end { return end{pid: childPID, status: unix.WaitStatus(sig)} }
func (c *testChild) received() []unix.Signal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]unix.Signal(nil), c.signals...)
}

func newTestChild() *testChild {
	c := &testChild{stops: make(chan os.Signal, 1), ends: make(chan end, 8), onSignal: func(unix.Signal) {}}
	c.supervisor = &supervisor{
		start: func() (int, error) { return childPID, nil },
		wait: func(status *unix.WaitStatus) (int, error) {
			e := <-c.ends
			*status = e.status
			return e.pid, e.err
		},
		signal: func(pid int, sig unix.Signal) error {
			c.mu.Lock()
			c.signals = append(c.signals, sig)
			c.mu.Unlock()
			if pid != childPID {
				return unix.EPERM
			}
			c.onSignal(sig)
			return nil
		},
		heard: func() {},
		stops: c.stops,
		out:   &c.output,
		grace: time.Minute, // tests that wait for it make it short
	}
	return c
}

func TestSupervisorExitCodes(t *testing.T) {
	for _, test := range []struct {
		name string
		ends []end
		code int
		says string
	}{
		{"success", []end{exited(0)}, 0, ""},
		{"a device is not usable", []end{exited(3)}, 3, ""},
		{"orphans in between", []end{{pid: 7}, {pid: 9, status: 1 << 8}, {err: unix.EINTR}, exited(0)}, 0, ""},
		{"stopped and continued", []end{{pid: childPID, status: 0x137f}, {pid: childPID, status: 0xffff}, exited(0)}, 0, ""},
		{"a crash", []end{killedBy(unix.SIGABRT)}, 1, "crashed (SIGABRT)"},
		{"a signal that we did not send", []end{killedBy(unix.SIGTERM)}, 1, "killed (SIGTERM)"},
		{"a bus error", []end{killedBy(unix.SIGBUS)}, 1, "killed (SIGBUS)"},
		{"out of memory", []end{killedBy(unix.SIGKILL)}, 1, "out of memory"},
		{"nothing to wait for", []end{{err: unix.ECHILD}}, 1, "no child processes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTestChild()
			for _, e := range test.ends {
				c.ends <- e
			}
			if code := c.run(); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if said := c.output.String(); !strings.Contains(said, test.says) || (test.says == "") != (said == "") {
				t.Errorf("said %q, want %q", said, test.says)
			}
			if got := c.received(); len(got) > 0 {
				t.Errorf("the child was sent %v", got)
			}
		})
	}
	c := newTestChild()
	c.start = func() (int, error) { return 0, unix.ENOEXEC }
	if code := c.run(); code != 1 || !strings.Contains(c.output.String(), unix.ENOEXEC.Error()) {
		t.Errorf("a child that does not start: exit code %d, said %q", code, c.output.String())
	}
}

func TestSupervisorPassesStopsOn(t *testing.T) {
	for name, ask := range map[string]func(*testChild){
		"SIGTERM": func(c *testChild) { c.stops <- unix.SIGTERM },
		"SIGINT":  func(c *testChild) { c.stops <- unix.SIGINT },
		"Enter":   func(c *testChild) { c.console = strings.NewReader("some\ntext\n") },
		"Return":  func(c *testChild) { c.console = strings.NewReader("\r") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestChild()
			c.onSignal = func(unix.Signal) { c.ends <- exited(0) }
			ask(c)
			if code := c.run(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if got := c.received(); len(got) != 1 || got[0] != unix.SIGTERM {
				t.Errorf("the child was sent %v, want one SIGTERM", got)
			}
			if said := c.output.String(); !strings.Contains(said, "stopping: ") {
				t.Errorf("said %q, want the reason of the stop", said)
			}
		})
	}
}

// TestConsoleWithoutEnter has a console at its end, and one that only has text without
// an end of line: neither stops anything.
func TestConsoleWithoutEnter(t *testing.T) {
	for name, console := range map[string]io.Reader{
		"nothing": strings.NewReader(""),
		"text":    strings.NewReader("text"),
		"broken":  brokenReader{},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestChild()
			c.console = console
			time.AfterFunc(20*time.Millisecond, func() { c.ends <- exited(0) })
			c.run()
			if got := c.received(); len(got) > 0 {
				t.Errorf("the child was sent %v", got)
			}
		})
	}
}

func TestSupervisorStopsOnce(t *testing.T) {
	c := newTestChild()
	c.onSignal = func(unix.Signal) {
		c.stops <- unix.SIGTERM // someone is impatient
		time.AfterFunc(20*time.Millisecond, func() { c.ends <- exited(0) })
	}
	c.stops <- unix.SIGTERM
	c.run()
	if got := c.received(); len(got) != 1 {
		t.Errorf("the child was sent %v, want one signal", got)
	}
}

// TestSupervisorStopsEarly has a child that has not called StopSignal yet.
func TestSupervisorStopsEarly(t *testing.T) {
	c := newTestChild()
	c.onSignal = func(sig unix.Signal) { c.ends <- killedBy(sig) }
	c.stops <- unix.SIGTERM
	if code := c.run(); code != 0 || !strings.Contains(c.output.String(), "before it had begun") {
		t.Errorf("exit code %d, said %q", code, c.output.String())
	}
}

func TestSupervisorKillsWhatDoesNotStop(t *testing.T) {
	c := newTestChild()
	c.grace = 10 * time.Millisecond
	c.onSignal = func(sig unix.Signal) {
		if sig == unix.SIGKILL {
			c.ends <- killedBy(sig)
		}
	}
	c.stops <- unix.SIGTERM
	if code := c.run(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if got := c.received(); len(got) != 2 || got[0] != unix.SIGTERM || got[1] != unix.SIGKILL {
		t.Errorf("the child was sent %v, want SIGTERM, SIGKILL", got)
	}
	if said := c.output.String(); !strings.Contains(said, "not stopped within") || strings.Contains(said, "out of memory") {
		t.Errorf("said %q", said)
	}
}

func TestSupervisorLeavesWhatDoesNotDie(t *testing.T) {
	c := newTestChild()
	c.grace = 10 * time.Millisecond
	c.stops <- unix.SIGTERM
	if code := c.run(); code != 1 || !strings.Contains(c.output.String(), "does not die") {
		t.Errorf("exit code %d, said %q", code, c.output.String())
	}
}

// brokenReader fails like a console that was hung up.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
