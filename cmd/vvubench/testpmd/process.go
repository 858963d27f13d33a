package testpmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vvufwd/cmd/internal/lab/vm"
)

// Limits of waiting.
const (
	startLimit = 60 * time.Second // for its ports to open
	stopLimit  = 20 * time.Second
)

// Process is a running testpmd. Its methods are safe for concurrent use.
type Process struct {
	child     *vm.Process
	hugePages bool
	commands  atomic.Int64 // that were given

	mu     sync.Mutex
	output output
	pauses int
}

// Start starts a testpmd and returns when it has begun to forward: a back-end then
// listens on its sockets, a front-end has connected to them. The caller must
// Close it.
func Start(ctx context.Context, program *Program, cfg Config) (*Process, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := availableMemory("/sys")
	p := &Process{hugePages: m == hugePages}
	argv := append(append([]string(nil), program.Command...), cfg.arguments(m)...)
	child, err := vm.Start(vm.Config{Name: cfg.Name, Argv: argv, Env: program.Env, LogPath: cfg.LogPath, OnLine: p.read})
	if err != nil {
		return nil, err
	}
	p.child = child
	if cfg.Commands {
		err = p.command(ctx, "")
	} else {
		_, _, err = child.Expect(ctx, 0, startLimit, "forwarding", begun)
	}
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return p, nil
}

func begun(line string) bool { return strings.HasSuffix(line, "start packet forwarding") }

// Pause returns when no core forwards any more, until Resume. They need Config.Commands. The totals are those since the
// last Resume.
func (p *Process) Pause(ctx context.Context) error {
	err := p.command(ctx, "stop")
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pauses++
	}
	return err
}

// Resume ends a Pause.
func (p *Process) Resume(ctx context.Context) error { return p.command(ctx, "start") }

// command gives testpmd a command and returns when it has been carried out. What it prints of that does not tell:
// that comes into our pipe when a buffer is full. But it echoes its commands at once, one after the other, so the
// echo of a remark means that it is done with the command before.
func (p *Process) command(ctx context.Context, line string) error {
	mark := p.child.Mark()
	remark := fmt.Sprintf("# done %d", p.commands.Add(1))
	if err := p.child.Send(line + "\n" + remark); err != nil {
		return err
	}
	what := "carrying out " + strconv.Quote(line)
	if line == "" {
		what = "forwarding"
	}
	_, _, err := p.child.Expect(ctx, mark, startLimit, what, func(text string) bool { return strings.HasSuffix(strings.TrimRight(text, "\r"), remark) })
	return err
}

func (p *Process) read(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output.add(line)
}

// Version is what the program says of itself: "DPDK 22.11.11".
func (p *Process) Version() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.version
}

// HugePages reports whether its memory is made of huge pages.
func (p *Process) HugePages() bool { return p.hugePages }

// Rates returns the complete ones that it has printed up to now, oldest first.
// They are not to be changed.
func (p *Process) Rates() []Rates {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.complete()
}

// PID is its process id.
func (p *Process) PID() int { return p.child.PID() }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.child.Done() }

// Stop asks it to end, waits until it has and returns its totals.
func (p *Process) Stop(ctx context.Context) (Totals, error) {
	if err := p.child.Terminate(); err != nil {
		return Totals{}, err
	}
	if err := p.child.WaitExit(ctx, stopLimit); err != nil {
		return Totals{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	totals, ok := p.output.final(p.pauses)
	if !ok {
		return Totals{}, p.child.Explain(fmt.Errorf("it ended without totals"))
	}
	return totals, nil
}

// Close makes sure that it is gone. It may be called any number of times.
func (p *Process) Close() error { return p.child.Close() }
