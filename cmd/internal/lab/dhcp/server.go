package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Server answers on one network device until it is closed. Safe for concurrent use.
type Server struct {
	conn net.PacketConn
	done sync.WaitGroup
	err  error // why it stopped; valid after done
}

// Listen starts a server on a network device. It needs the right to use port 67: root.
func Listen(device string, lease Lease) (*Server, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.BindToDevice(int(fd), device),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // others may serve other devices
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			)
		})
		return errors.Join(err, failed)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp4", ":67")
	if err != nil {
		return nil, fmt.Errorf("serve DHCP on %s: %w", device, err)
	}
	s := &Server{conn: conn}
	s.done.Go(func() { s.err = s.serve(lease) })
	return s, nil
}

func (s *Server) serve(lease Lease) error {
	var request [1500]byte
	for {
		n, _, err := s.conn.ReadFrom(request[:])
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve DHCP: %w", err)
		}
		answer, err := lease.Answer(request[:n])
		if err != nil {
			return fmt.Errorf("serve DHCP: %w", err)
		}
		if answer == nil {
			continue
		}
		// The client has no address yet. Should this be lost or refused, it asks again.
		_, _ = s.conn.WriteTo(answer, &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
	}
}

// Close stops the server and returns what went wrong while it ran.
func (s *Server) Close() error {
	err := s.conn.Close()
	s.done.Wait()
	return errors.Join(err, s.err)
}
