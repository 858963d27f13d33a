package vlanpeer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Server answers on one network device until it is closed.
type Server struct {
	peer Peer
	file *os.File // the packet socket
	done sync.WaitGroup
	err  error // why it stopped; valid after done
}

// anyProtocol is ETH_P_ALL in network byte order.
const anyProtocol = unix.ETH_P_ALL << 8 & 0xff00

// Listen starts a server.
func Listen(device string, peer Peer) (*Server, error) {
	on, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("answer in a VLAN on %s: %w", device, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("answer in a VLAN on %s: %w", device, os.NewSyscallError("socket", err))
	}
	// The kernel takes the tag out of a frame and tells of it beside.
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: anyProtocol, Ifindex: on.Index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("answer in a VLAN on %s: %w", device, err)
	}
	s := &Server{peer: peer, file: os.NewFile(uintptr(fd), "packet socket on "+device)}
	s.done.Go(func() { s.err = s.serve() })
	return s, nil
}

func (s *Server) serve() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	frame, beside := make([]byte, 1<<16), make([]byte, 256)
	for {
		var n, nb int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, nb, _, _, failed = unix.Recvmsg(int(fd), frame, beside, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil || failed != nil:
			return fmt.Errorf("answer in a VLAN: %w", errors.Join(err, failed))
		}
		answer, err := s.peer.Answer(tagOf(beside[:nb]), frame[:n])
		if err != nil {
			return fmt.Errorf("answer in a VLAN: %w", err)
		}
		if answer != nil {
			_, _ = s.file.Write(answer) // should it be lost, the ping tells
		}
	}
}

// Offsets in the kernel's struct tpacket_auxdata, which has 20 bytes: the status at 0, the tag at 16.
const (
	auxStatus = 0
	auxTag    = 16
	auxSize   = 20
	vlanMask  = 0xfff
)

// tagOf returns the VLAN that the control messages of a frame tell of, or 0.
func tagOf(beside []byte) uint16 {
	messages, err := unix.ParseSocketControlMessage(beside)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < auxSize {
			continue
		}
		if binary.NativeEndian.Uint32(m.Data[auxStatus:])&unix.TP_STATUS_VLAN_VALID != 0 {
			return binary.NativeEndian.Uint16(m.Data[auxTag:]) & vlanMask
		}
	}
	return 0
}

// Close stops the server and returns what went wrong while it ran.
func (s *Server) Close() error {
	err := s.file.Close()
	s.done.Wait()
	return errors.Join(err, s.err)
}
