package shadow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Config is what a Shadow is made of.
type Config struct {
	Name   string  // of its first port; the others have that with "/q1" and so on
	Memory *Memory // stays the caller's, who closes it when no one forwards any more
	Pairs  int     // queue pairs, at most
	Packed bool    // packed rings, if the driver VM has them

	// Grace is how long frames of an app VM wait for a driver VM when its front-end has connected. 0: for what
	// is right.
	Grace time.Duration

	// Connect makes a connection to the device, whose only front-end it is. It
	// does not wait.
	Connect func() (*net.UnixConn, error)
	Log     *zap.Logger
}

// entries is how many a ring has. More would be of no use: vvufwd polls, and what lies
// in caches is near.
const entries = 256

// Need is how large a region has to be for so many queue pairs, in bytes.
func Need(pairs int) uint64 {
	const buffer = 2048
	ring := (vring.DriverBytes(entries) + PageSize - 1) &^ (PageSize - 1)
	return uint64(pairs) * 2 * uint64(ring+entries*buffer)
}

// Frontend is what there is to know of the app VM's front-end.
type Frontend struct {
	Session uint64 // number of its connection; 0: there is none
	MTU     uint16 // what its guest takes; 0: it does not say
}

// Shadow is the device's front-end. Its methods but Run may be called concurrently.
type Shadow struct {
	cfg   Config
	ports []*Port

	mu       sync.Mutex
	frontend Frontend
	spread   int           // how many queue pairs are to be used
	end      func()        // ends the session that runs, nil if none does
	news     chan struct{} // capacity 1: something above has changed
}

// New returns a Shadow without a session.
func New(cfg Config) (*Shadow, error) {
	if need := Need(cfg.Pairs); need > uint64(len(cfg.Memory.bytes)) {
		return nil, fmt.Errorf("a shadow region of %d bytes is too small for %d queue pairs, which take %d", len(cfg.Memory.bytes), cfg.Pairs, need)
	}
	s := &Shadow{cfg: cfg, spread: 1, news: make(chan struct{}, 1)}
	for i := range cfg.Pairs {
		name := cfg.Name
		if i > 0 {
			name = fmt.Sprintf("%s/q%d", name, i)
		}
		s.ports = append(s.ports, newPort(name, cfg.Memory.owns))
	}
	return s, nil
}

// Ports are the queue pairs as a forwarder sees them.
func (s *Shadow) Ports() []*Port { return s.ports }

// Spread is netfwd.End's: frames arrive at the first pairs queue pairs, and only they take any.
func (s *Shadow) Spread(pairs int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spread = pairs
	s.tell()
	return nil
}

// SetFrontend says what front-end the app VM has. It does not wait. If it is another one, no frame
// passes between it and the session of the one before.
func (s *Shadow) SetFrontend(f Frontend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Session != s.frontend.Session {
		for _, p := range s.ports {
			p.cut()
		}
		if s.end != nil {
			s.end()
		}
		if f.Session != 0 {
			for _, p := range s.ports { // who forwards may not know yet that only the first is left
				p.await(cmp.Or(s.cfg.Grace, grace))
			}
		}
	}
	s.frontend = f
	s.tell()
}

// open lets frames pass, if the session is still that of the front-end.
func (s *Shadow) open(session uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session != s.frontend.Session {
		return
	}
	for _, p := range s.ports {
		p.open()
	}
}

// tell makes Run look around; s.mu is held.
func (s *Shadow) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Run has one session after the other until ctx is done. A forwarder must serve all Ports.
func (s *Shadow) Run(ctx context.Context) error {
	var pauses pauses
	for ctx.Err() == nil {
		frontend, own, end := s.begin(ctx)
		if frontend.Session == 0 {
			end()
			select {
			case <-s.news:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := s.serve(own, frontend)
		ended := own.Err() != nil // by the app VM's front-end, or by ctx
		end()
		if ended {
			pauses.forget()
			continue
		}
		delay := pauses.after(time.Since(began))
		if vhostuser.PeerClosed(err) {
			s.cfg.Log.Info("the driver VM has ended the session", zap.Duration("next in", delay))
		} else {
			s.cfg.Log.Error("ended the session with the driver VM", zap.Error(err), zap.Duration("next in", delay))
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	return nil
}

// begin makes the context of a session, which SetFrontend ends.
func (s *Shadow) begin(ctx context.Context) (f Frontend, own context.Context, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, cancel := context.WithCancel(ctx)
	s.end = cancel
	return s.frontend, own, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end = nil
	}
}

// wishes are what a session follows.
func (s *Shadow) wishes() (mtu uint16, spread int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frontend.MTU, s.spread
}

// serve has one session with the driver VM, and returns why it ended. After it nothing is
// left of it.
func (s *Shadow) serve(ctx context.Context, f Frontend) (err error) {
	sock, err := s.cfg.Connect()
	if err != nil {
		return err
	}
	c := newSession(s, sock)
	defer func() { err = errors.Join(err, c.close()) }()
	stop := context.AfterFunc(ctx, c.hurry)
	defer stop()
	if err := c.start(f); err != nil {
		return err
	}
	return c.follow(ctx)
}

// state is what queue pair i is good for while a session has pairs of them, and spread are to
// be used.
func state(i, pairs, spread int) virtionet.State {
	switch {
	case i >= pairs:
		return virtionet.StateIdle
	case i >= spread:
		return virtionet.StateSending
	}
	return virtionet.StateActive
}
