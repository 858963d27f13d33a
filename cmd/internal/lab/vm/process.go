package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config says what to start.
type Config struct {
	// Name is what messages call the child: "driver VM".
	Name string
	// Argv is the program and its arguments.
	Argv []string
	// Env is added to the demo's own environment.
	Env []string
	// LogPath is the file that receives every line the child prints. It is truncated first, or appended to when Append is set.
	LogPath string
	Append  bool
	// Echo, when not nil, gets every line with Name in front.
	Echo io.Writer
	// OnLine, when not nil, is called with every line in order. It must not block.
	OnLine func(line string)
}

// Process is a running child. Safe for concurrent use.
type Process struct {
	// Console holds what the child printed, on both its outputs.
	*Console

	cfg Config
	log *os.File

	mu     sync.Mutex
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ending bool // Kill was called

	stale atomic.Bool // see staleBreakpoint

	done    chan struct{} // closed once the child has ended and all its output was read
	exitErr error         // valid after done
}

// Start starts a child. The caller must Close it.
func Start(cfg Config) (*Process, error) {
	mode := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if cfg.Append {
		mode = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	log, err := os.OpenFile(cfg.LogPath, mode, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: console log: %w", cfg.Name, err)
	}
	p := &Process{cfg: cfg, log: log, done: make(chan struct{})}
	toLog := bufio.NewWriter(log)
	p.Console = newConsole(func(line string) {
		// A console log that cannot be written (disk full) must not stop the demo; its reader sees where it ends.
		fmt.Fprintln(toLog, line)
		toLog.Flush()
		if cfg.Echo != nil {
			fmt.Fprintf(cfg.Echo, "%-10s | %s\n", cfg.Name, line)
		}
		if cfg.OnLine != nil {
			cfg.OnLine(line)
		}
		if strings.Contains(line, staleBreakpoint) {
			p.stale.Store(true)
		}
	})
	wait, err := p.start()
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s (%s): %w", cfg.Name, cfg.Argv[0], err)
	}
	go func() {
		if p.exitErr = wait(); p.stale.Load() {
			p.startAnew()
		}
		p.Console.close()
		p.log.Close()
		close(p.done)
	}()
	return p, nil
}

// start starts the child. Wait waits for its end, and for all that it has printed.
func (p *Process) start() (wait func() error, err error) {
	cmd := exec.Command(p.cfg.Argv[0], p.cfg.Argv[1:]...)
	cmd.Env = append(os.Environ(), p.cfg.Env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := spawn(cmd); err != nil {
		return nil, err
	}
	p.cmd, p.stdin = cmd, stdin
	var readers sync.WaitGroup
	readers.Go(func() { p.readLines(stdout) })
	readers.Go(func() { p.readLines(stderr) })
	return func() error {
		readers.Wait() // before cmd.Wait, which closes the pipes under the readers
		return cmd.Wait()
	}, nil
}

// Send writes one line to the child's standard input, which is a virtual machine's serial console.
func (p *Process) Send(line string) error {
	p.mu.Lock()
	stdin := p.stdin
	p.mu.Unlock()
	if _, err := io.WriteString(stdin, line+"\n"); err != nil {
		return p.Explain(fmt.Errorf("write to the console: %w", err))
	}
	return nil
}

// Containing matches lines that have all the words in them.
func Containing(words ...string) func(line string) bool {
	return func(line string) bool {
		for _, w := range words {
			if !strings.Contains(line, w) {
				return false
			}
		}
		return true
	}
}

// Expect waits at most limit for a line from number mark on that match accepts; what says in the error what was waited for.
// It returns the line and the number of the line after it.
func (p *Process) Expect(ctx context.Context, mark int, limit time.Duration, what string, match func(string) bool) (string, int, error) {
	timeout := fmt.Errorf("no %s within %v", what, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, timeout)
	defer cancel()
	line, next, err := p.Wait(ctx, mark, match)
	switch {
	case err == nil:
		return line, next, nil
	case errors.Is(err, ErrConsoleClosed):
		<-p.done
		err = fmt.Errorf("it ended (%s) before %s", p.exitText(), what)
	}
	return "", next, p.Explain(err)
}

// Explain adds to an error the child's name, its last lines and where to find the rest.
func (p *Process) Explain(err error) error {
	tail := p.Tail(8)
	if len(tail) == 0 {
		return fmt.Errorf("%s: %w (it printed nothing)", p.cfg.Name, err)
	}
	return fmt.Errorf("%s: %w; its last lines (all of them: %s):\n    %s", p.cfg.Name, err, p.cfg.LogPath, strings.Join(tail, "\n    "))
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID returns the child's process id.
func (p *Process) PID() int { return p.process().Pid }

func (p *Process) process() *os.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process
}

// WaitExit waits at most limit for the child to end by itself, successfully.
func (p *Process) WaitExit(ctx context.Context, limit time.Duration) error {
	select {
	case <-p.done:
		if p.exitErr != nil {
			return p.Explain(fmt.Errorf("it failed (%s)", p.exitText()))
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(limit):
		return p.Explain(fmt.Errorf("still running %v after it was asked to stop", limit))
	}
}

// Terminate asks the child to end with SIGTERM.
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// Kill ends the child and whatever it started at once (SIGKILL) and waits until the child is gone. Its process group is its own.
func (p *Process) Kill() error {
	select {
	case <-p.done: // its number may belong to someone else by now
		return nil
	default:
	}
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: kill: %w", p.cfg.Name, err)
	}
	<-p.done
	return nil
}

// Close makes sure that the child is gone. It may be called any number of times.
func (p *Process) Close() error {
	p.mu.Lock()
	p.stdin.Close()
	p.mu.Unlock()
	return p.Kill()
}

func (p *Process) signal(s syscall.Signal) error {
	if err := p.process().Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: signal %v: %w", p.cfg.Name, s, err)
	}
	return nil
}

func (p *Process) exitText() string {
	if p.exitErr == nil {
		return "exit status 0"
	}
	return p.exitErr.Error()
}
