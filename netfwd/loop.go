package netfwd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Config is how a loop behaves.
type Config struct {
	// CPU to which the loop's thread is pinned, or -1.
	CPU int
	// IdleAfter is how long the loop polls without seeing a frame before it asks
	// for kicks and sleeps. Negative: never, it polls for ever.
	IdleAfter time.Duration
}

// Loop forwards between two ports, both ways, on one OS thread.
type Loop struct {
	cfg   Config
	ports [2]Port
	dirs  [2]direction

	wake   int // eventfd by which control and stats wake a sleeping loop
	poll   []unix.PollFd
	ask    atomic.Bool // somebody waits for fresh counters
	shared [2]atomic.Pointer[virtionet.Counters]
	ctx    context.Context
	faults func(err error)
}

// Rounds between two looks at whether the loop shall stop, refresh counters or
// go to sleep. A round is 50 ns when there is nothing to do.
const housekeeping = 256

// longestSleep bounds a sleep, should a kick be lost on the way (a device that
// has no vector for it at that moment drops it).
const longestSleep = 100 * time.Millisecond

// NewLoop prepares a loop between a and b. onFault is told when the loop caught
// a memory fault or panic in its own goroutine and put the pair's ports out of
// order; the loop goes on.
func NewLoop(a, b Port, cfg Config, onFault func(err error)) (*Loop, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	l := &Loop{cfg: cfg, ports: [2]Port{a, b}, wake: fd, faults: onFault}
	l.dirs[0] = direction{src: a, dst: b}
	l.dirs[1] = direction{src: b, dst: a}
	l.poll = append(l.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	for i := range l.ports {
		l.shared[i].Store(&virtionet.Counters{})
	}
	return l, nil
}

// Wake makes a sleeping loop look around. Safe for concurrent use.
func (l *Loop) Wake() {
	one := [8]byte{1}
	unix.Write(l.wake, one[:]) // a full counter is as good as a wake-up
}

// Ports are the loop's two ports.
func (l *Loop) Ports() [2]Port { return l.ports }

// Snapshot returns recent counters of both ports. Safe for concurrent use.
func (l *Loop) Snapshot() [2]virtionet.Counters {
	return [2]virtionet.Counters{*l.shared[0].Load(), *l.shared[1].Load()}
}

// Run forwards until ctx is done. It takes the calling goroutine's thread for
// itself. Faults of memory that a peer took away are caught: the ports are put
// out of order and the loop goes on, so that other sessions can start.
func (l *Loop) Run(ctx context.Context) error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	defer l.leave()
	if l.cfg.CPU >= 0 {
		var set unix.CPUSet
		set.Set(l.cfg.CPU)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin the loop of %s and %s to CPU %d: %w (does the machine have it?)",
				l.ports[0].Name(), l.ports[1].Name(), l.cfg.CPU, err)
		}
	}
	debug.SetPanicOnFault(true)
	l.ctx = ctx
	stop := context.AfterFunc(ctx, l.Wake)
	defer stop()
	for ctx.Err() == nil {
		if err := l.forward(); err != nil {
			for i, p := range l.ports {
				l.dirs[i].forget()
				p.Fail(err)
			}
			l.faults(err)
		}
	}
	return nil
}

// leave lets go of the ports, so that no control goroutine waits for the loop.
func (l *Loop) leave() {
	for i, p := range l.ports {
		l.dirs[i].forget()
		p.Leave()
	}
	l.publish()
}

// Close frees the loop's eventfd after Run has returned.
func (l *Loop) Close() error { return unix.Close(l.wake) }

// forward runs rounds until the context ends, or until a fault.
func (l *Loop) forward() (err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(error); ok {
				err = fmt.Errorf("forwarding stopped by %w", e)
			} else {
				err = fmt.Errorf("forwarding stopped by %v", r)
			}
			var fault interface{ Addr() uintptr }
			if !errors.As(err, &fault) { // not memory that went away: a bug, worth a trace
				err = fmt.Errorf("%w\n%s", err, debug.Stack())
			}
		}
	}()
	var idleSince time.Time
	worked := false
	for rounds := 0; ; rounds++ {
		if l.round() {
			worked = true
		}
		if rounds%housekeeping != 0 {
			continue
		}
		if l.ctx.Err() != nil {
			return nil
		}
		if l.ask.Swap(false) {
			l.publish()
		}
		now := time.Now()
		if worked || idleSince.IsZero() {
			idleSince, worked = now, false
			continue
		}
		if l.cfg.IdleAfter >= 0 && now.Sub(idleSince) >= l.cfg.IdleAfter {
			l.sleep()
			idleSince = time.Time{}
		}
	}
}

// round serves both directions once and reports whether a frame moved.
func (l *Loop) round() bool {
	if l.ports[0].Changed() || l.ports[1].Changed() {
		l.sync()
	}
	a := l.dirs[0].step()
	b := l.dirs[1].step()
	return a || b
}

// sync lets ports change. Frames on the way are given up first, since their
// views may be of memory that is going away.
func (l *Loop) sync() {
	for i, p := range l.ports {
		p.Abandon()
		l.dirs[i].forget()
	}
	for _, p := range l.ports {
		if p.Changed() {
			p.Sync()
		}
	}
}

// sleep asks both ports for kicks and waits for one, unless something came up
// while asking.
func (l *Loop) sleep() {
	l.publish()
	waiting := false
	for i, p := range l.ports {
		// A port is asked for room if the frames of the other one wait for it;
		// its own frames are no work while earlier ones wait for room.
		frames, room := p.EnableKicks(l.dirs[1-i].blocked())
		waiting = waiting || room || frames && !l.dirs[i].blocked()
	}
	if !waiting && !l.ports[0].Changed() && !l.ports[1].Changed() && l.ctx.Err() == nil && !l.ask.Load() {
		l.poll = l.poll[:1] // our own eventfd stays
		for _, p := range l.ports {
			for _, fd := range p.WakeFDs() {
				l.poll = append(l.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
		}
		n, _ := unix.Poll(l.poll, int(longestSleep/time.Millisecond)) // an error is a short sleep
		if n > 0 {
			l.drain()
		}
	}
	for _, p := range l.ports {
		p.DisableKicks()
	}
}

// drain empties the eventfds that woke us.
func (l *Loop) drain() {
	var buf [8]byte
	for i := range l.poll {
		if l.poll[i].Revents != 0 {
			unix.Read(int(l.poll[i].Fd), buf[:]) // EAGAIN: somebody else was faster
		}
	}
}

// publish makes the counters visible to Snapshot.
func (l *Loop) publish() {
	for i, p := range l.ports {
		c := *p.Counters()
		l.shared[i].Store(&c)
	}
}

// Refresh makes the loop publish its counters soon: within a few rounds, or at
// once if it sleeps. Safe for concurrent use.
func (l *Loop) Refresh() {
	l.ask.Store(true)
	l.Wake()
}
