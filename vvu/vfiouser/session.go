package vfiouser

import (
	"errors"
	"fmt"
	"io"
	"net"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
)

// session serves one client. Its goroutine owns it, but for the Host methods.
type session struct {
	dev  Device
	log  *zap.Logger
	io   *framer
	mem  *memory
	irqs *interrupts

	saidMemory bool // that the client shares too much
}

var _ Host = (*session)(nil)

func newSession(s *Server, conn *net.UnixConn) *session {
	return &session{
		dev: s.dev, log: s.log, io: newFramer(conn, &s.bin), mem: newMemory(s.memory), irqs: newInterrupts(s.events, s.dev.Vectors()),
	}
}

// Memory implements Host.
func (s *session) Memory() *mem.Table { return s.mem.Table() }

// Signal implements Host.
func (s *session) Signal(vector int) { s.irqs.signal(vector) }

// Pending implements Host.
func (s *session) Pending(vector int) bool { return s.irqs.pending(vector) }

// serve answers messages until the client goes away (nil) or breaks the protocol
// in a way that leaves no trust in the stream.
func (s *session) serve() error {
	if err := s.greet(); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	s.dev.Attach(s)
	defer func() {
		s.dev.Detach()
		s.irqs.close()
		s.mem.close()
	}()
	for {
		req, err := s.io.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = s.answer(req)
		s.io.discard(req)
		if err == nil && s.io.bin.Stuck() {
			err = errors.New("client sends file descriptors that take too long to close")
		}
		if err != nil {
			return err
		}
	}
}

// greet does the version handshake, which comes first.
func (s *session) greet() error {
	req, err := s.io.read()
	if err != nil {
		return err
	}
	defer s.io.discard(req)
	if req.Command != CmdVersion || req.Flags&flagTypeMask != 0 {
		return fmt.Errorf("client started with %v instead of VERSION", req.Command)
	}
	out, err := negotiate(req.payload)
	if err != nil {
		s.io.sendError(req.header, unix.EINVAL)
		return err
	}
	copy(s.io.reply(len(out)), out)
	return s.io.send(req.header, -1)
}

// answer handles one message and replies to it. Only errors that end the session
// are returned.
func (s *session) answer(req *request) error {
	if req.Flags&flagTypeMask != 0 {
		return fmt.Errorf("%v: reply to a command that was never sent", req.Command)
	}
	fd, err := s.handle(req)
	if err != nil {
		errno := unix.EINVAL
		errors.As(err, &errno)
		s.sayRefused(req, err)
		if req.Flags&flagNoReply != 0 {
			return nil
		}
		return s.io.sendError(req.header, errno)
	}
	if req.Flags&flagNoReply != 0 {
		return nil
	}
	return s.io.send(req.header, fd)
}

// sayRefused logs that a message was refused. What an operator can do something about is
// said aloud, once.
func (s *session) sayRefused(req *request, err error) {
	if errors.Is(err, errMuchMemory) && !s.saidMemory {
		s.saidMemory = true
		s.log.Warn("refused memory of the driver VM", zap.Error(err))
		return
	}
	s.log.Debug("refused a message", zap.Stringer("command", req.Command), zap.Error(err))
}

var errShort = fmt.Errorf("payload is too short: %w", unix.EINVAL)

// handle carries a message out and leaves the payload of the reply in s.io. The
// errno in a returned error is the client's answer; fd goes out with the reply.
func (s *session) handle(req *request) (fd int, err error) {
	switch req.Command {
	case CmdDMAMap:
		return -1, s.dmaMap(req)
	case CmdDMAUnmap:
		return -1, s.dmaUnmap(req)
	case CmdGetInfo:
		return -1, s.getInfo(req)
	case CmdGetRegionInfo:
		return s.getRegionInfo(req)
	case CmdGetIRQInfo:
		return -1, s.getIRQInfo(req)
	case CmdSetIRQs:
		return -1, s.setIRQs(req)
	case CmdRegionRead:
		return -1, s.regionRead(req)
	case CmdRegionWrite:
		return -1, s.regionWrite(req)
	case CmdReset:
		s.dev.Reset()
		s.irqs.forget()
		s.io.reply(0)
		return -1, nil
	case CmdVersion:
		return -1, fmt.Errorf("version was agreed on already: %w", unix.EINVAL)
	default:
		return -1, fmt.Errorf("not supported: %w", unix.EOPNOTSUPP)
	}
}

func (s *session) dmaMap(req *request) error {
	d, ok := parseDMAMap(req.payload)
	if !ok {
		return errShort
	}
	if err := s.mem.add(d, req.fds); err != nil {
		return err
	}
	s.changed()
	s.io.reply(0)
	return nil
}

func (s *session) dmaUnmap(req *request) error {
	d, ok := parseDMAUnmap(req.payload)
	if !ok {
		return errShort
	}
	if err := s.mem.remove(d); err != nil {
		return err
	}
	s.changed()
	copy(s.io.reply(dmaUnmapSize), req.payload[:dmaUnmapSize])
	return nil
}

// changed lets the device drop its view of the memory before the client hears
// that a change is done.
func (s *session) changed() {
	s.dev.MemoryChanged()
	s.mem.reap()
}

func (s *session) setIRQs(req *request) error {
	set, ok := parseIRQSet(req.payload)
	if !ok {
		return errShort
	}
	if set.Index == irqMSIX {
		if err := s.irqs.set(set, req); err != nil {
			return err
		}
	} else if set.Index >= numIRQs || set.Count > 0 {
		return fmt.Errorf("interrupt index %d has nothing to set: %w", set.Index, unix.EINVAL)
	}
	s.io.reply(0)
	return nil
}
