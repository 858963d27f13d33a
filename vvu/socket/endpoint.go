package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/door"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

// offeredProtocol are the protocol features that we serve besides several queue pairs.
const offeredProtocol = vhostuser.ProtoReplyAck | vhostuser.ProtoStatus | vhostuser.ProtoResetDevice |
	vhostuser.ProtoConfigureMemSlots | vhostuser.ProtoMTU | vhostuser.ProtoRARP | vhostuser.ProtoLogShmFD | vhostuser.ProtoInflightShmFD

// Limits bound what a front-end may share, whatever there is behind it.
type Limits struct {
	Memory  uint64 // bytes; 0: no bound
	Regions int    // 1 to vhostuser.LimitMaxRegions; 0: as many
}

// stalled is how long a front-end may take for a message it has begun, or to
// take a reply.
const stalled = 10 * time.Second

// peers are those who come to a server's socket. They wait longer than a stalled one is borne.
var peers = door.Peers{Name: "front-end", Advice: "a socket serves one app VM, give each one of its own", Patience: stalled + 5*time.Second}

// redial is the pause between attempts to connect, as a client.
const redial = 500 * time.Millisecond

// Endpoint serves the front-ends at one socket, one after the other.
type Endpoint struct {
	path     string
	listener *net.UnixListener // nil: we are the client
	guests   []*guest.Port
	events   *peerfd.Set
	bin      peerfd.Bin // for descriptors of front-ends
	log      *zap.Logger
	address  *[6]byte // of guests, if it is known
	flight   int      // see newInflightFile; or -1
	limits   Limits

	watch func(Frontend)

	mu       sync.Mutex
	down     bool            // SetLink
	conn     *vhostuser.Conn // of the session that runs
	sessions uint64          // that have begun; Run writes it
}

// Frontend is what an endpoint tells of its front-end.
type Frontend struct {
	Session uint64 // number of its connection, from 1; 0: there is none
	MTU     uint16 // what its guest takes; 0: it has not said
}

// Listen makes an endpoint that waits for front-ends at a socket, such as vhostuser.Listen makes.
// Front-ends can have up to maxPairs queue pairs, session.MaxPairs at most.
func Listen(l *net.UnixListener, maxPairs int, log *zap.Logger) *Endpoint {
	return newEndpoint(l.Addr().String(), l, maxPairs, log)
}

// Connect makes an endpoint that connects to a front-end which listens at path,
// again and again. For maxPairs see Listen.
func Connect(path string, maxPairs int, log *zap.Logger) *Endpoint {
	return newEndpoint(path, nil, maxPairs, log)
}

func newEndpoint(path string, l *net.UnixListener, maxPairs int, log *zap.Logger) *Endpoint {
	events, err := peerfd.NewSet()
	if err != nil {
		log.Warn("without asynchronous I/O, interrupts of guests are slower", zap.Error(err))
	}
	flight, err := newInflightFile(session.MaxInflight(maxPairs))
	if err != nil {
		log.Warn("INFLIGHT_SHMFD is not offered", zap.Error(err))
	}
	return &Endpoint{path: path, listener: l, log: log, events: events, flight: flight, watch: func(Frontend) {}, guests: session.NewGuests("vhost-user:"+path, maxPairs, log)}
}

// Ports are the endpoint's queue pairs as a forwarder sees them. They stay the same
// for the endpoint's life, however many of them a front-end uses.
func (e *Endpoint) Ports() []*guest.Port { return e.guests }

// SetAddress says which address guests have, for certain; see session.Session. Call it
// before Run.
func (e *Endpoint) SetAddress(mac [6]byte) error {
	if _, err := guest.NewAnnouncement(mac); err != nil {
		return err
	}
	e.address = &mac
	return nil
}

// Limit bounds what a front-end may share. Without it there are only vhostuser's bounds. Call
// it before Run.
func (e *Endpoint) Limit(l Limits) { e.limits = l }

// Watch has told called with each change of what there is to know of the front-end. It must not
// wait. Call it before Run.
func (e *Endpoint) Watch(told func(Frontend)) { e.watch = told }

// backendConfig is what sessions offer.
func (e *Endpoint) backendConfig() vhostuser.BackendConfig {
	cfg := vhostuser.BackendConfig{
		Protocol: offeredProtocol, MaxRegions: e.limits.Regions, MaxMemory: e.limits.Memory, PassesFDs: true,
	}
	if cfg.MaxRegions == 0 {
		cfg.MaxRegions = vhostuser.LimitMaxRegions
	}
	if e.flight < 0 {
		cfg.Protocol &^= vhostuser.ProtoInflightShmFD
	}
	return cfg
}

// SetLink takes the guest's link down, or up again; it is up to begin with. Down ends the
// session, and front-ends are refused: a connection that ends is for QEMU a link that
// goes down, and one that begins a link that comes up. As a server we close connections
// as soon as they are made. One left waiting would stop QEMU's machine, which asks at once
// and waits for the answer; refused, it tries again if its chardev has reconnect-ms. Safe
// for concurrent use.
func (e *Endpoint) SetLink(up bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down == up {
		e.log.Info("link of the guest changed", zap.Bool("up", up))
	}
	e.down = !up
	if e.down && e.conn != nil {
		e.conn.Close()
		e.conn = nil
	}
}

// isDown reports whether the guest's link is down.
func (e *Endpoint) isDown() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

// begin notes the connection of the session that runs, or returns false if the link is
// down.
func (e *Endpoint) begin(conn *vhostuser.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.down {
		e.conn = conn
		e.sessions++
	}
	return !e.down
}

// end notes that there is no session any more, and reports whether SetLink ended it.
func (e *Endpoint) end() (cut bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	cut = e.conn == nil
	e.conn = nil
	return cut
}

// Run serves front-ends until ctx is done. A forwarder must serve all
// Ports. As a server it has one that comes while another is connected wait for a while, and
// refuses it then; the log says so. Without a word its monitor would hang, and no one could say why.
func (e *Endpoint) Run(ctx context.Context) error {
	debug.SetPanicOnFault(true) // ring memory can vanish under our hands
	if e.listener == nil {
		return e.visit(ctx)
	}
	e.log.Info("waiting for a front-end")
	var quiet time.Time // no front-end is served before this time
	err := door.At(e.listener, &e.bin, peers, e.log).Serve(ctx, func(sock *net.UnixConn) {
		e.pause(ctx, time.Until(quiet))
		if !e.attend(ctx, sock) {
			quiet = time.Now().Add(redial)
		}
	})
	if err != nil {
		return fmt.Errorf("accept at %s: %w", e.path, err)
	}
	return nil
}

// visit serves the front-end that listens, again and again. A front-end that has gone is
// looked for again after a pause: it would be we who come back at once.
func (e *Endpoint) visit(ctx context.Context) error {
	for ctx.Err() == nil {
		if e.bin.Full() { // of what the one before has sent
			e.pause(ctx, redial)
			continue
		}
		sock, err := e.dial(ctx)
		if err != nil {
			return nil // told to end
		}
		e.attend(ctx, sock)
		e.pause(ctx, redial)
	}
	return nil
}

// attend serves a front-end until it disconnects, and reports whether the next may come at once:
// one that fails at once comes back at once.
func (e *Endpoint) attend(ctx context.Context, sock *net.UnixConn) (welcome bool) {
	conn := vhostuser.NewConn(sock)
	conn.SetBin(&e.bin)
	if ctx.Err() != nil || !e.begin(conn) {
		conn.Close()
		return true
	}
	e.log.Info("front-end connected")
	e.watch(Frontend{Session: e.sessions})
	err := e.serve(ctx, conn)
	e.watch(Frontend{})
	switch {
	case e.end():
		e.log.Info("disconnected the front-end, because the link went down")
		return true
	case errors.Is(err, io.EOF), ctx.Err() != nil:
		e.log.Info("front-end disconnected")
	default:
		e.log.Error("ended the session", zap.Error(err))
	}
	return vhostuser.PeerClosed(err)
}

// dial waits for a front-end that listens.
func (e *Endpoint) dial(ctx context.Context) (*net.UnixConn, error) {
	for e.isDown() {
		if e.pause(ctx, redial); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	for said := false; ; said = true {
		sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: e.path, Net: "unix"})
		if err == nil {
			return sock, nil
		}
		if !said {
			e.log.Info("waiting for the front-end to listen", zap.Error(err))
		}
		if e.pause(ctx, redial); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (e *Endpoint) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// serve handles one connection's messages until it ends, and returns why.
func (e *Endpoint) serve(ctx context.Context, conn *vhostuser.Conn) (err error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetPatience(stalled)
	c := newCarrier(e.events, &e.bin, session.Rings(len(e.guests)))
	c.ownFlight = e.flight
	if e.limits.Memory > 0 {
		c.memory.most = e.limits.Memory + rounding
	}
	s := session.New(c, e.backendConfig(), e.guests, e.log)
	if e.address != nil {
		if err := s.SetAddress(*e.address); err != nil {
			return err
		}
	}
	mtu := uint16(0)
	defer func() {
		if r := recover(); r != nil {
			err = session.Vanished(r)
		}
		if e := s.Reset(); e != nil {
			err = errors.Join(err, e)
		}
		err = errors.Join(err, c.close())
		conn.Close()
	}()
	for {
		m, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if e.bin.Stuck() {
			conn.Discard(&m)
			return errors.New("front-end sends file descriptors that take too long to close")
		}
		if err := c.take(&m); err != nil {
			return err
		}
		reply, err := s.Handle(m)
		err = errors.Join(err, c.sweep(s.Regions))
		if now := s.MTU(); now != mtu {
			mtu = now
			e.watch(Frontend{Session: e.sessions, MTU: mtu})
		}
		if reply != nil {
			conn.SetWriteDeadline(time.Now().Add(stalled))
			if e := conn.WriteMessage(*reply); e != nil {
				return errors.Join(err, e)
			}
		}
		if err != nil {
			return err
		}
	}
}

// Close removes the socket, after Run has returned or if it never ran. No
// forwarder may serve Ports any more.
func (e *Endpoint) Close() error {
	e.events.Close()
	if e.flight >= 0 {
		unix.Close(e.flight)
		e.flight = -1
	}
	if e.listener == nil {
		return nil
	}
	if err := e.bin.Close(e.listener); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
