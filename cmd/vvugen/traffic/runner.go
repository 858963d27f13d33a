package traffic

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvugen/port"
	"vvufwd/vfio/await"
)

const (
	// checkEvery is how many rounds pass between looks at the clock, the ports and
	// the stop flag; a power of two.
	checkEvery = 64

	// writeOffAfter is how long frames that a back-end has taken, but that do not
	// come out, keep a window shut. Shorter than the pauses of a back-end that
	// shares its CPU, it would make the back-end lose frames.
	writeOffAfter = 500 * time.Millisecond
)

// Way is one direction of a run. A nil port leaves that end out: nothing is
// sent, or what the back-end has taken counts as received.
type Way struct {
	From, To *port.Port
	Pair     int // of ports, counted from 0; for the report
}

// MaxWays is how many ways there may be: they have their numbers in 8 bits.
const MaxWays = 256

// stationOf numbers the ports of some ways in their order; nil is a station too.
func stationOf(ways []Way, p *port.Port) uint16 {
	seen := map[*port.Port]bool{}
	for _, w := range ways {
		for _, other := range []*port.Port{w.From, w.To} {
			if other == p {
				return uint16(len(seen))
			}
			seen[other] = true
		}
	}
	return uint16(len(seen))
}

// Runner sends and receives along some ways. Make it with NewRunner, then call
// Run once. Progress may be called from any goroutine.
type Runner struct {
	// OnSend, when not nil, is called once the back-end forwards, just before sending
	// begins, on the thread that sends. Set it before Run.
	OnSend func()

	plan  Plan
	dirs  []*direction
	clock clock
	stop  atomic.Bool
	round uint64
	idle  uint64 // rounds in which nothing could be sent and nothing had come
	begun int64  // clock at the start of sending

	restLimit time.Duration // 0: it polls
	shares    bool          // it has no CPU of its own, and measures no latency
	vain      int           // rounds since something happened
	rested    int64         // nanoseconds
}

// NewRunner prepares a run, filling the ports' buffers.
func NewRunner(plan Plan, ways []Way) (*Runner, error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	if len(ways) > MaxWays {
		return nil, fmt.Errorf("%d ways: there may be %d", len(ways), MaxWays)
	}
	r := &Runner{plan: plan, clock: newClock()}
	pat := newPattern(plan.Size)
	for i, w := range ways {
		if w.From == nil && w.To == nil {
			return nil, errors.New("a way needs at least one port")
		}
		s := stream{number: uint8(i), from: stationOf(ways, w.From), to: stationOf(ways, w.To)}
		r.dirs = append(r.dirs, newDirection(w.From, w.To, s, &r.plan, pat, r.clock))
		r.dirs[i].pair = w.Pair
		if limit := r.dirs[i].restLimit(); i == 0 || limit < r.restLimit {
			r.restLimit = limit
		}
	}
	return r, nil
}

// Progress returns the live counters of each direction.
func (r *Runner) Progress() []*Progress {
	var all []*Progress
	for _, d := range r.dirs {
		all = append(all, &d.progress)
	}
	return all
}

// Run does what the plan says on a thread of its own, pinned to cpu unless that
// is negative, and returns what was measured, also along with an error. When ctx
// ends it stops sending and goes on as if the time were over. The garbage
// collector rests meanwhile.
func (r *Runner) Run(ctx context.Context, cpu int) (Result, error) {
	var result Result
	var err error
	done := make(chan struct{})
	go func() { // a locked thread that ends with its goroutine takes the affinity along
		defer close(done)
		runtime.LockOSThread()
		r.shares = cpu < 0 && !r.plan.Latency
		if err = pin(cpu); err == nil {
			result, err = r.run(ctx)
		}
	}()
	<-done
	result.CPU = max(cpu, -1)
	return result, err
}

// pin ties the calling thread to a CPU.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	if !set.IsSet(cpu) {
		return fmt.Errorf("--cpu %d: the kernel knows no such CPU number", cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("--cpu %d: cannot run there, choose one that nproc and taskset allow: %w", cpu, err)
	}
	return nil
}

func (r *Runner) run(ctx context.Context) (Result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	unhook := context.AfterFunc(ctx, func() { r.stop.Store(true) })
	defer unhook()

	if err := r.settle(); err != nil {
		return Result{}, err
	}
	await.OnTime()
	if r.OnSend != nil {
		r.OnSend()
	}
	before, known := threadDelay()
	r.begin()
	err := r.send()
	elapsed := r.clock.now() - r.begun
	after, _ := threadDelay()
	frames, bytes := make([]uint64, len(r.dirs)), make([]uint64, len(r.dirs))
	for i, d := range r.dirs {
		frames[i], bytes[i] = d.mark()
	}
	if err == nil {
		err = r.drain()
	}
	result := Result{Elapsed: time.Duration(max(elapsed, 1)), Idle: r.idleShare(elapsed), Delayed: -1}
	if known {
		result.Delayed = (after - before).Seconds() / result.Elapsed.Seconds()
	}
	for i, d := range r.dirs {
		result.Directions = append(result.Directions, d.result(frames[i], bytes[i]))
	}
	return result, err
}

func (r *Runner) begin() {
	r.begun = r.clock.now()
	for _, d := range r.dirs {
		d.idleSince = r.begun
	}
}

// send is the loop: it ends with the plan's time or count, or when stopped.
func (r *Runner) send() error {
	for {
		more, err := r.step()
		if !more || err != nil {
			return err
		}
	}
}

// step is one round, and now and then a look at the rest of the world.
func (r *Runner) step() (more bool, err error) {
	r.round++
	look := r.round%checkEvery == 0
	now := r.begun
	if look || r.plan.Rate > 0 {
		now = r.clock.now()
	}
	busy := false
	for _, d := range r.dirs {
		busy = d.send(now-r.begun) || busy
		busy = d.receive() || busy
	}
	if busy {
		r.vain = 0
	} else {
		r.vain++
		r.idle++
	}
	rests := !busy && r.rests() // after a look, for a back-end that fell asleep at the wrong moment has to hear of it
	if !look && !rests {
		return true, nil
	}
	tried := now
	if rests {
		now = r.clock.now()
	}
	more, err = r.look(now)
	if rests && more && err == nil {
		r.rest(tried, now)
	}
	return more, err
}

// look decides whether to go on.
func (r *Runner) look(now int64) (more bool, err error) {
	finished := r.plan.Count > 0
	for _, d := range r.dirs {
		if err := d.check(now); err != nil {
			return false, err
		}
		finished = finished && d.finished()
	}
	over := r.plan.Duration > 0 && now-r.begun >= int64(r.plan.Duration)
	return !finished && !over && !r.stop.Load(), nil
}

// drain receives what is under way, until all of it is there or nothing has come
// for the plan's drain time.
func (r *Runner) drain() error {
	var seen uint64
	last := r.clock.now()
	r.vain = 0
	for {
		drained := true
		var done uint64
		for _, d := range r.dirs {
			d.receive()
			drained = d.drained() && drained
			done += d.done()
		}
		now := r.clock.now()
		if done != seen {
			seen, last, r.vain = done, now, 0
		}
		if drained || now-last > int64(r.plan.Drain) {
			break
		}
		if r.vain++; r.shares && r.vain > waitRounds {
			nap(waitRest)
		}
	}
	for _, d := range r.dirs {
		d.idleSince = r.clock.now() // idle it is
		if err := d.check(d.idleSince); err != nil {
			return err
		}
	}
	return nil
}
