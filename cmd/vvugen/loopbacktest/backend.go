package loopbacktest

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"time"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Backend is a running back-end.
type Backend struct {
	cfg   Config
	sides []*side

	mu   sync.Mutex // held by whoever works on rings and memory
	quit chan struct{}
	wg   sync.WaitGroup

	held []byte // a delayed frame, empty if there is none

	chain  vring.Chain // scratch of pump; tests count allocations
	chains []vring.Chain
	packet []byte
}

// Start listens on, or connects to, the sockets and serves one connection each.
func Start(cfg Config) (*Backend, error) {
	b := &Backend{cfg: cfg, quit: make(chan struct{})}
	for _, path := range cfg.Sockets {
		s := &side{owner: b, machine: vhostuser.NewBackend(vhostuser.BackendConfig{
			Features: cfg.Features, Protocol: vhostuser.SupportedProtocol &^ (vhostuser.ProtoLogShmFD | vhostuser.ProtoInflightShmFD), PassesFDs: true,
		})}
		if err := b.attach(s, path); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.sides = append(b.sides, s)
	}
	b.wg.Go(b.forward)
	return b, nil
}

func (b *Backend) attach(s *side, path string) error {
	if b.cfg.Dial {
		conn, err := vhostuser.Dial(path)
		if err != nil {
			return err
		}
		s.closer = conn
		b.wg.Go(func() { s.serve(conn) })
		return nil
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	s.closer = listener
	b.wg.Go(func() {
		for {
			sock, err := listener.AcceptUnix()
			if err != nil {
				return // closed
			}
			conn := vhostuser.NewConn(sock)
			b.mu.Lock()
			s.conn = conn
			b.mu.Unlock()
			s.serve(conn)
		}
	})
	return nil
}

// Close ends all connections and waits until nothing runs any more.
func (b *Backend) Close() error {
	close(b.quit)
	var errs []error
	for _, s := range b.sides {
		errs = append(errs, s.closer.Close())
		s.hangUp()
	}
	b.wg.Wait()
	return errors.Join(errs...)
}

// HangUp closes all connections, as a back-end does that dies.
func (b *Backend) HangUp() {
	for _, s := range b.sides {
		s.hangUp()
	}
}

// A back-end that has had nothing to do for restAfter rounds looks again after each rest: it leaves the processors to
// whoever waits for frames that never come, and is no slower as long as frames do come.
const (
	restAfter = 2000
	rest      = 100 * time.Microsecond
)

// forward is the data path.
func (b *Backend) forward() {
	for idle := 0; ; idle++ {
		select {
		case <-b.quit:
			return
		default:
		}
		b.mu.Lock()
		moved := b.round()
		b.mu.Unlock()
		switch {
		case moved:
			idle = 0
		case idle > restAfter:
			time.Sleep(rest)
		default:
			runtime.Gosched()
		}
	}
}
