package vfiouser

import (
	"context"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/door"
)

// Server serves one Device to one client after the other.
type Server struct {
	dev    Device
	log    *zap.Logger
	events *peerfd.Set
	bin    peerfd.Bin // for descriptors of clients
	memory uint64     // see LimitMemory
}

// NewServer returns a server for dev, which is to be made before system calls are
// filtered (see peerfd.NewSet).
func NewServer(dev Device, log *zap.Logger) *Server {
	s := &Server{dev: dev, log: log}
	var err error
	if s.events, err = peerfd.NewSet(); err != nil {
		log.Warn("without asynchronous I/O, interrupts of the driver VM are slower", zap.Error(err))
	}
	return s
}

// LimitMemory bounds the memory files of a client, in bytes of all together; 0, as at
// first, is no bound. A file is mapped whole, however much of it the client shares: the
// files count, and those too that a client has taken back but that may still be mapped.
func (s *Server) LimitMemory(n uint64) { s.memory = n }

// peers are the clients.
var peers = door.Peers{Name: "driver VM's monitor", Advice: "a device serves one driver VM, give each a vvudev of its own", Patience: 5 * time.Second}

// Serve accepts clients from l until ctx ends (nil) or l fails. A client that
// breaks the protocol is dropped with a log line. One that connects while another
// is served waits for a while, and is then refused; the log says so. Serve closes
// l, and is called once.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	defer s.events.Close()
	err := door.At(l, &s.bin, peers, s.log).Serve(ctx, func(conn *net.UnixConn) {
		s.log.Info("driver VM's monitor connected", zap.Stringer("socket", l.Addr()))
		switch err := s.ServeConn(ctx, conn); {
		case ctx.Err() != nil:
		case err != nil:
			s.log.Warn("dropped the driver VM's monitor, waiting for the next", zap.Error(err))
		default:
			s.log.Info("driver VM's monitor disconnected, waiting for the next")
		}
	})
	if err != nil {
		return fmt.Errorf("accepting vfio-user clients on %s: %w", l.Addr(), err)
	}
	return nil
}

// ServeConn serves one client until it disconnects (nil), breaks the protocol,
// or ctx ends. It closes conn.
func (s *Server) ServeConn(ctx context.Context, conn *net.UnixConn) error {
	session := newSession(s, conn)
	defer session.io.close()
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		session.io.close()
		time.AfterFunc(endTime, func() { close(late) })
	})
	defer stop()
	err, ended := peerfd.Await(late, session.serve, func(error) {})
	if !ended { // the kernel closes a file of the client's, see peerfd.Receiver
		return ctx.Err()
	}
	return err
}

// endTime is how long a session may take to end after the connection has. It takes none, unless the
// client has seen to that.
const endTime = 2 * time.Second
