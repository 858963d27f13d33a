package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/vm"
)

// Limits of waiting for vvufwd.
const (
	openLimit = 10 * time.Second // for its sockets to appear
	openLook  = 2 * time.Millisecond
	stopLimit = 10 * time.Second
)

// Vvufwd is this project's forwarder.
type Vvufwd struct {
	name, program, version string
}

// NewVvufwd makes a peer of a program, and gives it a name: two builds can be
// compared. It runs the program to learn its version.
func NewVvufwd(ctx context.Context, name, program string) (*Vvufwd, error) {
	named := program
	program, err := filepath.Abs(named) // a name without a slash would be looked for in PATH
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: run %s --version: %w: name a vvufwd that runs here", name, named, cli.Unnamed(err))
	}
	return &Vvufwd{name: name, program: program, version: strings.TrimSpace(string(out))}, nil
}

// Name implements Peer.
func (v *Vvufwd) Name() string { return v.name }

// Version implements Peer.
func (v *Vvufwd) Version() string { return v.version }

// arguments is vvufwd's command line: one loop for all pairs, polling for ever.
func (v *Vvufwd) arguments(job Job) []string {
	var args []string
	if job.Switch {
		args = append(args, "--switch")
	}
	for i, socket := range job.sockets() {
		args = append(args, "--vhost-user", socket)
		if job.Through != "" {
			args = append(args, "--port", job.Through+":"+job.Interfaces[i], "--queues", "1")
		}
	}
	return append(args, "--cpus", strconv.Itoa(job.CPU), "--idle-after", "-1s", "--stats-json")
}

// Start implements Peer.
func (v *Vvufwd) Start(ctx context.Context, job Job) (Forwarder, error) {
	f := &vvufwdForwarder{name: v.name}
	child, err := vm.Start(vm.Config{
		Name: v.name, Argv: append([]string{v.program}, v.arguments(job)...), LogPath: job.LogPath, OnLine: f.read,
	})
	if err != nil {
		return nil, err
	}
	f.Process = child
	if err := f.await(ctx, job.sockets()); err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return f, nil
}

type vvufwdForwarder struct {
	*vm.Process
	name string

	mu   sync.Mutex
	last string // line of statistics
}

// read keeps the newest line of statistics; others are its log.
func (f *vvufwdForwarder) read(line string) {
	if strings.HasPrefix(line, "{") {
		f.mu.Lock()
		f.last = line
		f.mu.Unlock()
	}
}

// await waits until all sockets are there.
func (f *vvufwdForwarder) await(ctx context.Context, sockets []string) error {
	deadline := time.Now().Add(openLimit)
	for i := 0; i < len(sockets); {
		if _, err := os.Stat(sockets[i]); err == nil {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.Done():
			return f.Explain(errors.New("it ended before it listened"))
		case <-time.After(openLook):
		}
		if time.Now().After(deadline) {
			return f.Explain(fmt.Errorf("%s has not appeared within %v", sockets[i], openLimit))
		}
	}
	return nil
}

// Stop implements Forwarder.
func (f *vvufwdForwarder) Stop(ctx context.Context) (Work, error) {
	if err := f.Terminate(); err != nil {
		return Work{}, err
	}
	if err := f.WaitExit(ctx, stopLimit); err != nil {
		return Work{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	work, err := parseStatistics(f.last)
	if err != nil {
		return Work{}, f.Explain(err)
	}
	return work, nil
}
