package netfwd

import "time"

// busyClock tells how much of its time a loop spends in rounds that move frames.
// It reads the processor's counter, which ticks at a fixed rate and costs a few
// nanoseconds, once a round; what a tick is worth follows from the time that
// passed since start.
type busyClock struct {
	began      time.Time
	first      uint64 // counter at start
	last       uint64 // counter at the last tick
	busy       uint64 // ticks in busy rounds
	busyRounds uint64
	rounds     uint64
}

// cycles reads the processor's counter.
//
//go:noescape
func cycles() uint64

func (c *busyClock) start() {
	c.began, c.first = time.Now(), cycles()
	c.last = c.first
}

// tick ends a round.
func (c *busyClock) tick(busy bool) {
	now := cycles()
	if busy {
		c.busy += now - c.last
		c.busyRounds++
	}
	c.last = now
	c.rounds++
}

// busyTime is the time spent in busy rounds so far.
func (c *busyClock) busyTime() time.Duration {
	ticks := c.last - c.first
	if c.began.IsZero() || ticks == 0 {
		return 0
	}
	return time.Duration(float64(time.Since(c.began)) * float64(c.busy) / float64(cycles()-c.first))
}
