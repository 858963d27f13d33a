package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// result is what became of a stage.
type result struct {
	name  string
	begun time.Time
	took  time.Duration
	cpu   time.Duration // of all its processes that were waited for
	err   error         // nil: it passed
	log   string        // the file that has all of its output

	tests  tests
	others []string // the last lines that are not of a test
}

// lastLines is how many lines of a failed stage are shown that no test printed.
const lastLines = 60

// grace is how long a stage may take to end when it is told to.
const grace = 20 * time.Second

// run runs one stage: "make NAME", with STAGE set to the name, on which the Makefile asks "go test" for events in place of text.
func (r *runner) run(ctx context.Context, name string) *result {
	res := &result{name: name, begun: time.Now(), log: filepath.Join(r.logs, name+".log")}
	r.screen.say(name, "begins")
	res.err = r.execute(ctx, res)
	res.took = time.Since(res.begun)
	verdict := "passed"
	if res.err != nil {
		verdict = "FAILED: " + res.err.Error()
	}
	r.screen.say(name, fmt.Sprintf("%s, after %.1f s, %.1f s of processor time", verdict, res.took.Seconds(), res.cpu.Seconds()))
	return res
}

func (r *runner) execute(ctx context.Context, res *result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	log, err := os.Create(res.log)
	if err != nil {
		return err
	}
	defer log.Close()
	// Of one user only: a make above this one has jobs and flags of its own.
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", res.name)
	cmd.Env = append(os.Environ(), "STAGE="+res.name, "MAKEFLAGS=", "MAKELEVEL=")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // to be ended with all that it started
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = grace
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	var reading sync.WaitGroup
	reading.Go(func() { r.follow(reader, log, res) })
	err = cmd.Run()
	writer.Close()
	reading.Wait()
	if cmd.ProcessState != nil {
		res.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return err
}

// follow reads a stage's output to its end.
func (r *runner) follow(from io.Reader, log io.Writer, res *result) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(strings.TrimSuffix(line, "\n"), log, res)
		}
		if err != nil {
			return
		}
	}
}

// line takes one line of a stage's output: an event of "go test", or text of anything else.
func (r *runner) line(line string, log io.Writer, res *result) {
	e, ok := parseEvent(line)
	if !ok {
		fmt.Fprintln(log, line)
		r.screen.say(res.name, line)
		if res.others = append(res.others, line); len(res.others) > lastLines {
			res.others = res.others[1:]
		}
		return
	}
	io.WriteString(log, e.Output)
	if said := res.tests.take(e); said != "" {
		r.screen.say(res.name, said)
	}
}

// screen is what all stages print to, a line at a time.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	begun time.Time
}

func (s *screen) say(stage, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1f s %-8s %s\n", time.Since(s.begun).Seconds(), stage, text)
}
