package netfwd

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// Config is how a loop behaves.
type Config struct {
	// CPU to which the loop's thread is pinned, or -1.
	CPU int
	// IdleAfter is how long the loop polls without seeing a frame before it asks
	// for kicks and sleeps, see idlePolicy for what it learns. Zero: not at all, it sleeps
	// at once. Negative: for ever, it never sleeps.
	IdleAfter time.Duration
	// OnFault is told which ports have failed after the loop caught a memory
	// fault or a panic in its own goroutine. The loop goes on when it returns: it must
	// not block, nor log.
	OnFault func(failed []Port, err error)

	onKicksOnly bool // for tests: frames that wait for room wait for a kick, however long
}

// Loop forwards among the ports of one or more groups, lanes or a switch, on one
// OS thread.
type Loop struct {
	cfg     Config
	groups  []group
	shares  []share // of groups
	serving int     // the group at work

	wanted  atomic.Pointer[[]group] // what to serve instead
	adopted chan struct{}
	gone    chan struct{} // closed when the loop has ended

	wake    int // eventfd by which control and stats wake a sleeping loop
	poll    []unix.PollFd
	drainer peerfd.Drainer
	stats   publisher
	clock   busyClock
	idle    idlePolicy
	ctx     context.Context
}

// newLoop prepares a loop that serves these groups.
func newLoop(groups []group, cfg Config) (*Loop, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	l := &Loop{cfg: cfg, wake: fd, adopted: make(chan struct{}), gone: make(chan struct{}), idle: idlePolicy{after: cfg.IdleAfter}}
	l.take(groups)
	l.poll = append(l.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	l.stats.renew(l.describe)
	return l, nil
}

// Run forwards until ctx is done. If it is pinned it takes the calling goroutine's thread for
// itself: otherwise Go's scheduler would pass it from one thread to another and back whenever it
// lets someone else run, which it does a hundred times a second. Faults of memory that a peer took away are caught: that peer's port is
// failed and the loop goes on, so that another session can start.
func (l *Loop) Run(ctx context.Context) error {
	defer l.leave()
	if l.cfg.CPU >= 0 {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var set unix.CPUSet
		set.Set(l.cfg.CPU)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin a loop to CPU %d: %w (does the machine have it?)", l.cfg.CPU, err)
		}
	}
	debug.SetPanicOnFault(true)
	l.ctx = ctx
	stop := context.AfterFunc(ctx, l.Wake)
	defer stop()
	l.clock.start()
	for ctx.Err() == nil {
		if err := guarded(l.forward); err != nil {
			l.cfg.OnFault(l.groups[l.serving].contain(err), err)
		}
	}
	return nil
}

// leave gives the ports up and leaves the last counters.
func (l *Loop) leave() {
	for _, g := range l.groups {
		l.abandon(g)
	}
	l.stats.renew(l.describe)
	close(l.gone)
}

// ended reports whether Run has returned, or is about to.
func (l *Loop) ended() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// describe adds what statistics tell of the loop.
func (l *Loop) describe(s *snapshot) {
	s.loop = LoopStats{
		CPU:    l.cfg.CPU,
		Rounds: l.clock.rounds, BusyRounds: l.clock.busyRounds, BusyNS: l.clock.busyTime().Nanoseconds(),
	}
	for _, g := range l.groups {
		g.describe(s)
	}
}

// abandon gives up the ports of a group for good.
func (l *Loop) abandon(g group) {
	// Rings can vanish at the very end too, those of one port after the other.
	for range len(g.members()) + 1 {
		err := guarded(g.leave)
		if err == nil {
			break
		}
		l.cfg.OnFault(g.contain(err), err)
	}
}

// serve makes the loop serve other groups. When it returns the loop touches no other
// any more, and what they did is in its counters. No two goroutines may call it at
// the same time. The calling goroutine must have debug.SetPanicOnFault set, as the
// loop's has.
func (l *Loop) serve(groups []group) {
	l.wanted.Store(&groups)
	l.Wake()
	select {
	case <-l.adopted:
	case <-l.gone:
		for _, g := range groups { // no one serves them: no one shall wait for them
			l.abandon(g)
		}
	}
}

// adopt takes over the groups that are wanted.
func (l *Loop) adopt(groups []group) {
	l.take(groups)
	l.stats.renew(l.describe)
	l.wanted.Store(nil)
	l.adopted <- struct{}{}
}

func (l *Loop) take(groups []group) { l.groups, l.shares, l.serving = groups, sharesOf(groups), 0 }

// Close frees the loop's eventfd after Run has returned.
func (l *Loop) Close() error { return unix.Close(l.wake) }

// forward runs rounds until the context ends.
func (l *Loop) forward() {
	worked := false
	for rounds := 0; ; rounds++ {
		moved := l.round()
		l.clock.tick(moved)
		worked = worked || moved
		if rounds%housekeeping != 0 {
			continue
		}
		if l.ctx.Err() != nil {
			return
		}
		if groups := l.wanted.Load(); groups != nil {
			l.adopt(*groups)
		}
		if l.stats.due() {
			l.stats.answer(l.describe)
		}
		now := time.Now()
		for i, g := range l.groups {
			l.serving = i
			g.housekeep(now)
		}
		if worked {
			l.idle.worked(now)
			worked = false
			continue
		}
		sleep, limit := l.idle.idle(now)
		if len(l.groups) == 0 {
			sleep, limit = true, forever
		}
		if sleep {
			l.sleep(limit)
			rounds = -1 // look around after the next one: the sleep may have been long
		}
	}
}

// round gives everybody a turn and reports whether a frame moved.
func (l *Loop) round() bool {
	moved := false
	for i := range l.shares {
		s := &l.shares[i]
		for range s.groups {
			l.serving = s.groups[s.turn.next(len(s.groups))]
			if l.groups[l.serving].step() {
				moved = true
				break
			}
		}
	}
	return moved
}
