package session

import (
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/net/control"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
)

// controlQueue is the guest's control queue where its monitor hands it to us. It is
// served by a goroutine of its own, far from the loops that forward; what it says comes
// to them as what a message says does, by Install. Session.mu guards it.
type controlQueue struct {
	queue    *control.Queue    // nil while its ring is stopped
	settings *control.Settings // nil: the queue was never ours
	watch    *watch            // nil: no one looks at the queue
	failed   bool              // it was said that the ring is broken

	wanted *guest.Filter // nil: all frames
}

// start takes the queue into service. A ring that the front-end lets begin again is that of a
// device that has been reset; one that goes on belongs to a guest that knows what it has told
// us, or the back-end before us.
func (c *controlQueue) start(s *Session, ring *vring.Device, fresh bool) {
	cfg := control.Config{Features: s.backend.Features(), MaxPairs: len(s.pairs), SetMAC: s.backend.SetMAC}
	switch {
	case fresh:
		c.settings = control.New(cfg)
	case c.settings == nil:
		c.settings = control.Unknown(cfg)
	default:
		c.settings.Configure(cfg)
	}
	c.queue, c.failed = &control.Queue{Ring: ring}, false
	c.filter(s)
}

// stop ends service. Nothing touches the ring any more when it returns; what the guest has
// set stays in force.
func (c *controlQueue) stop() {
	if c.watch != nil {
		c.watch.stop()
	}
	c.queue, c.watch = nil, nil
}

// mark makes the ring mark what it writes as the front-end wants it now.
func (c *controlQueue) mark(s *Session) {
	if c.queue != nil {
		c.queue.Ring.SetLogging(s.logging(s.controlRing()))
	}
}

// renegotiate takes note of other features: with another driver perhaps, so that what the
// one before has set is void if there is no control queue any more.
func (c *controlQueue) renegotiate(s *Session) {
	if s.controlRing() < 0 {
		c.forget(s)
	}
}

// forget drops what the guest has set.
func (c *controlQueue) forget(s *Session) {
	c.settings = nil
	c.filter(s)
}

// chosen is how many of most queue pairs the guest takes frames at.
func (c *controlQueue) chosen(most int) int {
	if c.settings == nil {
		return most
	}
	return c.settings.Pairs()
}

// filter makes the filter what the settings say. All pairs are to be installed then, for
// the number of those that take frames may be another one too.
func (c *controlQueue) filter(s *Session) {
	before := c.wanted
	c.wanted = nil
	if c.settings != nil {
		c.wanted = c.settings.Filter(s.backend.MAC())
	}
	if c.settings == nil && before == nil {
		return
	}
	for i := range s.pairs {
		s.pairs[i].changed = true
	}
}

// attend makes someone look at the queue from now on, whenever the guest kicks it. It is
// called again when the kick is another one or the ring is enabled.
func (c *controlQueue) attend(s *Session) {
	if c.watch != nil {
		c.watch.stop()
		c.watch = nil
	}
	if i := s.controlRing(); c.queue != nil && s.backend.Ring(i).Enabled {
		c.watch = newWatch(s.events[i].kick)
		go c.watch.run(s)
	}
}

// batch is how many commands are carried out before messages have their turn.
const batch = 8

// serve carries out commands that wait, and reports whether it did any and whether more
// may wait. The guest's memory may vanish meanwhile; that costs it the queue.
func (c *controlQueue) serve(s *Session) (served int, more bool) {
	q := c.queue
	defer func() {
		if r := recover(); r != nil {
			q.Ring.Fail(Vanished(r))
			more = false
		}
		if err := q.Ring.Err(); err != nil && !c.failed {
			c.failed = true
			s.log.Error("the guest violated the protocol of its control queue, which is stopped until the guest resets its device", zap.Error(err))
		}
	}()
	served, more = q.Serve(batch, func(class, command byte, data *control.Data) bool { return c.do(s, class, command, data) })
	if served == 0 {
		return served, more
	}
	if call := s.events[s.controlRing()].call; q.Ring.NeedSignal() && call != nil {
		call.Ring()
	}
	return served, more
}

// do carries one command out. What it changes is in force when it returns.
func (c *controlQueue) do(s *Session, class, command byte, data *control.Data) bool {
	size := data.Len()
	ok := c.settings.Do(class, command, data)
	s.log.Debug("command of the guest", zap.Uint8("class", class), zap.Uint8("command", command), zap.Uint64("size", size), zap.Bool("ok", ok))
	if ok {
		c.filter(s)
		s.installChanged()
	}
	return ok
}

// run serves the queue until the watch is stopped.
func (w *watch) run(s *Session) {
	debug.SetPanicOnFault(true) // ring memory can vanish under our hands
	defer w.close()
	for {
		s.mu.Lock()
		if w.over { // the queue is another's to look at, or no one's
			s.mu.Unlock()
			return
		}
		served, more := s.control.serve(s)
		s.mu.Unlock()
		if served == 0 || more {
			// Whoever kicks for nothing, or has commands without end, gets no more than so
			// much of our time. A guest waits for each of its commands.
			time.Sleep(watchRest)
		}
		if !more {
			w.wait()
		}
	}
}

const watchRest = time.Millisecond
