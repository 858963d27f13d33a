package traffic

import (
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/await"
)

// A loop that sends at a rate has nothing to do for most of its time. It rests then, unless latency is measured, which takes
// someone who sees each frame as it comes. What has become due meanwhile goes out at once, so the rate is kept.
//
// One that sends as much as it can rests when it has waited for the back-end in vain for a while, unless it has a CPU of its
// own: the back-end may be waiting for this one.

const (
	// longestRest bounds a rest. Where frames are rarer, each goes out on time.
	longestRest = time.Millisecond

	// leastRest is the shortest one that is worth a system call and a timer.
	leastRest = 50 * time.Microsecond

	// restShare is the share of a ring, or a window, that what becomes due in a rest fills at most: room for those who
	// wake up late. With rings of 256, who sends more than 640000 frames a second does not rest.
	restShare = 8

	// waitRest is a rest after waitRounds in a row in which nothing happened, more than 100 us: no one who has a CPU takes so long.
	waitRest   = 100 * time.Microsecond
	waitRounds = 10000
)

// restLimit is how long a loop may rest that follows a plan, when no more than room frames may be under way. 0: not at all.
func restLimit(plan *Plan, room int) time.Duration {
	if plan.Rate <= 0 || plan.Latency {
		return 0
	}
	limit := min(longestRest, time.Duration(float64(room/restShare)/plan.Rate*1e9))
	if limit < leastRest {
		return 0
	}
	return limit
}

// restLimit is that of this direction. Frames that come by themselves come at a rate that no one knows.
func (d *direction) restLimit() time.Duration {
	if d.source == nil {
		return 0
	}
	room := d.ring
	if d.window > 0 {
		room = min(room, d.window)
	}
	return restLimit(d.plan, int(room))
}

// due is when the next frame is, in nanoseconds since sending began.
func (d *direction) due() int64 {
	if d.finished() {
		return math.MaxInt64
	}
	return int64(float64(d.source.sent+1) / d.plan.Rate * 1e9)
}

// rests reports whether to rest after a round in which nothing happened.
func (r *Runner) rests() bool {
	return r.restLimit > 0 || r.shares && r.vain > waitRounds
}

// pause is how long to rest at time now since sending began: for the limit, or until the next frame is due where they are so
// rare that each is sent on time. Tried is when frames were last tried to be sent.
func (r *Runner) pause(tried, now int64) time.Duration {
	pause := r.restLimit
	if pause == 0 {
		return waitRest
	}
	if r.plan.Rate*r.restLimit.Seconds() > 1 {
		return pause
	}
	for _, d := range r.dirs {
		if due := d.due(); due > tried { // else it waits for the back-end
			pause = min(pause, max(leastRest, time.Duration(due-now)))
		}
	}
	return pause
}

// rest sleeps for as long as nothing is to be done, after a round at time tried in which there was nothing.
func (r *Runner) rest(tried, now int64) {
	nap(r.pause(tried-r.begun, now-r.begun))
	r.rested += r.clock.now() - now
}

// nap sleeps on the calling thread, which is the loop's own.
func nap(pause time.Duration) {
	timeout := unix.NsecToTimespec(pause.Nanoseconds())
	if runtime.GOMAXPROCS(0) > 1 { // else no one could run meanwhile
		await.Briefly(nil, &timeout)
		return
	}
	_, _ = unix.Ppoll(nil, &timeout, nil) // an error is a short sleep
}

// idleShare is the share of rounds that waited for the back-end, or of the time in which there were none.
func (r *Runner) idleShare(elapsed int64) float64 {
	rested := min(1, float64(r.rested)/float64(max(elapsed, 1)))
	return rested + (1-rested)*float64(r.idle)/float64(max(r.round, 1))
}
