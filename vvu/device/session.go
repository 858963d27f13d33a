package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// session is one front-end on the socket, from accept to close. What of it lasts
// as long as the connection with the driver is in the Device.
type session struct {
	d    *Device
	sock *net.UnixConn
	conn *vhostuser.Conn
}

// run serves a front-end until it is gone or ctx ends. It closes the socket.
func (s *session) run(ctx context.Context) {
	if !s.d.arrive(s) {
		s.conn.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() {
		reason := context.Cause(ctx)
		if errors.Is(reason, context.Canceled) {
			reason = errors.New("the device stops")
		}
		s.fail(reason)
	})
	defer stop()
	if err := s.await(); err != nil {
		s.fail(err)
		return
	}
	var replies sync.WaitGroup
	replies.Go(s.sendReplies)
	s.fail(s.relay())
	replies.Wait()
}

// fail ends the session if it has not ended yet.
func (s *session) fail(reason error) {
	s.d.mu.Lock()
	defer s.d.unlock()
	s.d.end(s, reason, true)
}

// await waits until the driver is up. Nothing is read before: the front-end's
// first message is then still the first that the driver gets. A front-end that
// leaves meanwhile makes room for the next.
func (s *session) await() error {
	raw, err := s.sock.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool { return peerfd.HungUp(int(fd)) })
	switch {
	case err == nil:
		return fmt.Errorf("front-end disconnected before the driver was ready: %w", net.ErrClosed)
	case errors.Is(err, os.ErrDeadlineExceeded): // see hear
		return s.sock.SetReadDeadline(time.Time{})
	default:
		return err
	}
}

// relay passes the front-end's messages to the driver, one at a time: the next is
// read when the one before is in the driver's hands.
func (s *session) relay() error {
	for {
		m, err := s.conn.ReadMessage()
		if err != nil {
			return err
		}
		err = s.admit(&m)
		s.conn.Discard(&m)
		if err == nil && s.d.bin.Stuck() {
			err = errors.New("front-end sends file descriptors that take too long to close")
		}
		if err != nil {
			return err
		}
		if err := s.d.deliver(s, m); err != nil {
			return err
		}
	}
}

// admit checks a message of the front-end and does what the device has to do with
// it, before the driver sees it.
func (s *session) admit(m *vhostuser.Message) error {
	if m.Flags&vhostuser.VersionMask != vhostuser.Version || m.Flags&vhostuser.FlagReply != 0 {
		return fmt.Errorf("%v from the front-end has flags %#x", m.Request, m.Flags)
	}
	if !passes(m.Request) {
		return fmt.Errorf("%v from the front-end cannot pass through this device", m.Request)
	}
	switch m.Request {
	case vhostuser.SetMemTable:
		return s.memTable(m)
	case vhostuser.SetVringKick, vhostuser.SetVringCall, vhostuser.SetVringErr:
		return s.notifier(m)
	case vhostuser.SetProtocolFeatures:
		var v vhostuser.U64
		if err := v.Decode(m.Payload); err != nil {
			return fmt.Errorf("%v: %w", m.Request, err)
		}
		if extra := vhostuser.ProtocolFeatures(v) &^ carried; extra != 0 {
			return fmt.Errorf("front-end accepts protocol features that it was not offered: %v", extra)
		}
	}
	return nil
}

// memTable rewrites a memory table for the driver.
func (s *session) memTable(m *vhostuser.Message) error {
	var table vhostuser.MemoryTable
	if err := table.Decode(m.Payload); err != nil {
		return fmt.Errorf("%v: %w", m.Request, err)
	}
	placed, err := s.d.ram.place(table, m.FDs)
	if err != nil {
		return err
	}
	m.Payload = placed.Append(nil)
	return nil
}

// notifier takes over an eventfd of the front-end. Rings that the device does not
// have get none; the driver knows their number and will not serve them either.
func (s *session) notifier(m *vhostuser.Message) error {
	var v vhostuser.VringFD
	if err := v.Decode(m.Payload); err != nil {
		return fmt.Errorf("%v: %w", m.Request, err)
	}
	want := 1
	if v.NoFD {
		want = 0
	}
	if len(m.FDs) != want {
		return fmt.Errorf("%v for ring %d carries %d descriptors, want %d", m.Request, v.Index, len(m.FDs), want)
	}
	ring := int(v.Index)
	if ring >= len(s.d.rings) {
		return nil
	}
	var e *peerfd.Event
	if !v.NoFD {
		var err error
		if e, err = s.d.events.Event(m.FDs[0]); err != nil {
			return fmt.Errorf("%v for ring %d: %w", m.Request, ring, err)
		}
		m.FDs = nil
	}
	tag, ok := s.install(m.Request, ring, e)
	if !ok { // ended meanwhile
		e.Close()
		return net.ErrClosed
	}
	if m.Request == vhostuser.SetVringKick && e != nil {
		if err := s.d.kicks.add(e, tag); err != nil {
			return fmt.Errorf("%v for ring %d: %w", m.Request, ring, err)
		}
	}
	return nil
}

// install puts a notifier in the place of the one that a ring has, unless the session
// has ended. A kick notifier gets the tag.
func (s *session) install(r vhostuser.Request, ring int, e *peerfd.Event) (tag kickTag, ok bool) {
	s.d.mu.Lock()
	defer s.d.unlock()
	if s.d.session != s {
		return tag, false
	}
	switch r {
	case vhostuser.SetVringKick:
		tag = s.d.setKick(ring, e)
	case vhostuser.SetVringCall:
		s.d.setCall(ring, e)
	case vhostuser.SetVringErr:
		s.d.setErr(ring, e)
	}
	return tag, true
}
