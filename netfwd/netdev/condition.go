package netdev

import (
	"sync/atomic"

	virtionet "vvufwd/virtio/net"
)

// Condition is what has become of an interface, as far as its queue pairs have to know. Control
// sets it at any time. Safe for concurrent use.
type Condition struct {
	down     atomic.Bool  // there is no way to the interface, or none on from there
	maxFrame atomic.Int32 // bytes of a frame that is sent
	wake     atomic.Pointer[func()]
}

// Down reports whether what is sent is to be dropped, and nothing comes.
func (c *Condition) Down() bool { return c.down.Load() }

// Fail says that a queue pair has found the interface down. It is, until control has looked.
func (c *Condition) Fail() { c.down.Store(true) }

// MaxFrame is how long a frame may be that is sent, in bytes.
func (c *Condition) MaxFrame() int { return int(c.maxFrame.Load()) }

// Wake makes a sleeping forwarder look at its ports.
func (c *Condition) Wake() {
	if wake := c.wake.Load(); wake != nil {
		(*wake)()
	}
}

// Set is called by control, with what it has seen of the interface.
func (c *Condition) Set(s State) {
	c.maxFrame.Store(int32(min(virtionet.FrameOf(s.MTU), virtionet.MaxFrame)))
	if works := s.works(); c.down.Swap(!works) == works {
		c.Wake()
	}
}
