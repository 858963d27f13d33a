package shadow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/net/driver"
	"vvufwd/vvu/vhostuser"
)

// session is one with the driver VM, from the connection to the device to its end. Its methods
// belong to one goroutine, but for those that are vhostuser.Transport's, hurry and fail.
type session struct {
	shadow *Shadow
	conn   *vhostuser.Conn
	front  *vhostuser.Frontend
	pairs  []*pair

	mtu    uint16 // as the driver VM knows it
	spread int

	running atomic.Bool // rings run in the driver VM
	failed  chan error  // capacity 1: a ring makes no sense

	replies chan vhostuser.Message // capacity 1
	over    chan struct{}          // closed when the connection is of no use any more
	why     error                  // of that
	reader  sync.WaitGroup
}

// stopPatience is how long the driver VM may take to stop its rings.
const stopPatience = time.Second

// wanted are the features that a queue pair can use, offloads aside.
const wanted = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx

func newSession(s *Shadow, sock *net.UnixConn) *session {
	c := &session{
		shadow: s, conn: vhostuser.NewConn(sock), failed: make(chan error, 1),
		replies: make(chan vhostuser.Message, 1), over: make(chan struct{}),
	}
	c.reader.Go(c.read)
	return c
}

// read takes what the driver VM says, and finds out when it has gone.
func (c *session) read() {
	defer close(c.over)
	for {
		m, err := c.conn.ReadMessage()
		if err != nil {
			c.why = err
			return
		}
		m.CloseFDs()
		select {
		case c.replies <- m:
		default:
			c.why = fmt.Errorf("the driver VM sends %v, which no one has asked for", m)
			return
		}
	}
}

// ReadMessage waits for a reply. It implements vhostuser.Transport, as WriteMessage does.
func (c *session) ReadMessage() (vhostuser.Message, error) {
	select {
	case m := <-c.replies:
		return m, nil
	case <-c.over:
		return vhostuser.Message{}, c.why
	}
}

// WriteMessage sends a request. A driver VM that takes none makes it wait until hurry.
func (c *session) WriteMessage(m vhostuser.Message) error { return c.conn.WriteMessage(m) }

// hurry ends the session: soon, if there are rings to be stopped.
func (c *session) hurry() {
	if c.running.Load() {
		time.AfterFunc(stopPatience, func() { c.conn.Close() })
		return
	}
	c.conn.Close()
}

// fail ends the session, because a ring makes no sense. It does not wait.
func (c *session) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// start negotiates, with a driver VM that may not be there yet, and has the rings run.
func (c *session) start(f Frontend) error {
	s, mtu := c.shadow, f.MTU
	c.front = vhostuser.NewFrontend(c, vhostuser.FrontendConfig{
		Style: vhostuser.Vvudev, MTU: mtu,
		Regions: []vhostuser.MemoryRegion{s.cfg.Memory.region()}, Files: []int{int(s.cfg.Memory.file.Fd())},
	})
	c.mtu = mtu
	if err := c.front.Connect(); err != nil {
		return err
	}
	features, err := c.features()
	if err != nil {
		return err
	}
	var rings []vhostuser.FrontendRing
	for i := range c.count() {
		p, err := newPair(c, i, features)
		if err != nil {
			return err
		}
		c.pairs = append(c.pairs, p)
		rings = append(rings, p.rings()...)
	}
	_, spread := s.wishes()
	c.spread = min(spread, len(c.pairs))
	c.front.Prepare(features, rings, c.spread)
	for _, p := range c.pairs {
		p.port.Start(p.bells[0].kick, p.bells[1].kick)
	}
	c.running.Store(true)
	if err := c.front.Start(); err != nil {
		return err
	}
	s.cfg.Log.Info("the driver VM serves the app VM, through the shadow region",
		zap.Stringer("features", features), zap.Int("pairs", len(c.pairs)), zap.Uint16("mtu", mtu))
	for i, p := range c.pairs {
		s.ports[i].install(&queues{p.port, c.fail})
	}
	s.open(f.Session)
	c.show()
	return nil
}

// features are what is negotiated, of what the driver VM offers.
func (c *session) features() (virtio.Features, error) {
	offered := c.front.Offered()
	if !offered.Has(virtio.Version1) {
		return 0, errors.New("the driver VM's back-end does not offer VERSION_1: run vvufwd there")
	}
	want := wanted
	if c.shadow.cfg.Packed {
		want |= virtio.RingPacked
	}
	if c.front.Protocol().Has(vhostuser.ProtoMQ) {
		want |= virtio.NetMQ
	}
	return want&offered | driver.WantedOffloads(offered, entries), nil
}

// count is how many queue pairs the session has. Some back-ends say how many of them they have, and
// vvufwd how many rings.
func (c *session) count() int {
	if !c.front.Offered().Has(virtio.NetMQ) {
		return 1
	}
	return int(max(1, min(c.front.QueueNum()/2, uint64(len(c.shadow.ports)))))
}

// show tells those who forward what the queue pairs are good for.
func (c *session) show() {
	for i, p := range c.shadow.ports {
		p.setState(state(i, len(c.pairs), c.spread))
	}
}

// follow does what is asked for until the session ends, and returns why.
func (c *session) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			c.quiesce()
			_, err := c.front.Stop()
			return err
		case <-c.over:
			return c.why
		case err := <-c.failed:
			return err
		case <-c.shadow.news:
		}
		if err := c.adapt(); err != nil {
			return err
		}
	}
}

// adapt passes on what has changed.
func (c *session) adapt() error {
	mtu, spread := c.shadow.wishes()
	if mtu != c.mtu && mtu != 0 {
		c.mtu = mtu
		if err := c.front.SetMTU(mtu); err != nil {
			return err
		}
	}
	spread = min(spread, len(c.pairs))
	for ; c.spread < spread; c.spread++ {
		if err := c.front.Enable(c.spread, true); err != nil {
			return err
		}
	}
	if c.spread > spread {
		was := c.spread
		c.spread = spread
		c.show() // first: what is sent through a pair that is disabled gets lost
		for i := spread; i < was; i++ {
			if err := c.front.Enable(i, false); err != nil {
				return err
			}
		}
	}
	c.show()
	return nil
}

// quiesce takes the queue pairs away from those who forward.
func (c *session) quiesce() {
	for i := range c.pairs {
		c.shadow.ports[i].install(nil)
	}
}

// close ends the session and leaves nothing of it. The driver VM may still look at the region,
// which it will find empty.
func (c *session) close() error {
	c.quiesce()
	c.conn.Close()
	c.reader.Wait()
	var errs []error
	for _, p := range c.pairs {
		errs = append(errs, p.close())
	}
	c.shadow.cfg.Memory.Wipe()
	return errors.Join(errs...)
}

// ringError says which ring of the driver VM's device makes no sense.
type ringError struct {
	port, ring string
	err        error
}

func (e *ringError) Error() string {
	return fmt.Sprintf("the driver VM breaks the %s ring of %s: %v", e.ring, e.port, e.err)
}
func (e *ringError) Unwrap() error { return e.err }
