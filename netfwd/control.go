package netfwd

import (
	"context"
	"errors"
	"time"

	virtionet "vvufwd/virtio/net"
)

// End is one end of a link, or what is behind a port of a switch: a device with one or
// more queue pairs.
type End struct {
	Queues []Port
	// Spread, if not nil, tells the device how many of its queue pairs, the first ones,
	// frames shall arrive at. Run calls it, of Balancer or Switch.
	Spread func(pairs int) error
	// Capture, if not nil, gets copies of the frames that pass.
	Capture *Capture
}

// controller is what balancers and switches have in common: loops, and a goroutine,
// Run, that follows what guests make of their queue pairs.
type controller struct {
	loops   []*Loop
	ends    []*spreadEnd
	changed chan struct{} // the state of something
	warn    func(error)
}

// spreadEnd is an end that can be told where frames shall arrive.
type spreadEnd struct {
	End
	others [][]*member // for whom they are, by end
	told   int         // what Spread was told last

	fewer time.Time // since when fewer would do; zero if they would not
}

func newController(warn func(error)) controller {
	return controller{changed: make(chan struct{}, 1), warn: warn}
}

// Loops are the loops, to be run by the caller. They must not end before Run does.
func (c *controller) Loops() []*Loop { return c.loops }

// Close frees the loops after all have ended.
func (c *controller) Close() error {
	var errs []error
	for _, l := range c.loops {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// WakeLoops makes all loops look around. Safe for concurrent use.
func (c *controller) WakeLoops() {
	for _, l := range c.loops {
		l.Wake()
	}
}

// StateChanged says that the state of a queue pair has changed. It does not block. Safe for
// concurrent use.
func (c *controller) StateChanged() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// follow calls act now and at each StateChanged, and spreads frames then, until ctx is done.
func (c *controller) follow(ctx context.Context, act func()) {
	calm := time.NewTimer(calmAfter)
	defer calm.Stop()
	for {
		act()
		for _, e := range c.ends {
			if wait := c.spread(e, time.Now()); wait > 0 {
				calm.Reset(wait)
			}
		}
		time.Sleep(rest)
		select {
		case <-c.changed:
		case <-calm.C:
		case <-ctx.Done():
			return
		}
	}
}

// rest is the pause between two acts: front-ends start queue pairs one after the other,
// and a hostile one starts and stops them all the time.
const rest = 5 * time.Millisecond

// calmAfter is how long fewer queue pairs must do before a device is told. A NIC may lose
// frames while it changes, those of other guests too if there is a switch; a guest that
// starts and stops queue pairs all the time must not make it change all the time.
const calmAfter = time.Second

// spread tells an end of as many queue pairs as another one of those that it sends to
// takes frames at: of more at once, of fewer when that has lasted. It returns how long to
// wait with that, at most.
func (c *controller) spread(e *spreadEnd, now time.Time) (wait time.Duration) {
	pairs := 1
	for _, other := range e.others {
		active := 0
		for _, p := range other {
			if p.State() == virtionet.StateActive {
				active++
			}
		}
		pairs = max(pairs, active)
	}
	pairs = min(pairs, len(e.Queues))
	switch {
	case e.Spread == nil:
		return 0
	case pairs >= e.told:
		e.fewer = time.Time{}
		if pairs == e.told {
			return 0
		}
	case e.fewer.IsZero():
		e.fewer = now
		return calmAfter
	default:
		if wait := calmAfter - now.Sub(e.fewer); wait > 0 {
			return wait
		}
		e.fewer = time.Time{}
	}
	e.told = pairs
	if err := e.Spread(pairs); err != nil {
		c.warn(err)
	}
	return 0
}
