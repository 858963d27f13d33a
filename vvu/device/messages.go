package device

import (
	"fmt"
	"net"
	"time"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// carried are the protocol features that work through this device: those that
// need neither a shared-memory area nor a channel besides the RAM file and the
// rings' notifiers. CONFIGURE_MEM_SLOTS is not among them because the place of a
// region in the BAR depends on all regions of the table; with at most eight
// regions SET_MEM_TABLE does the same.
const carried = vhostuser.ProtoMQ | vhostuser.ProtoRARP | vhostuser.ProtoReplyAck | vhostuser.ProtoMTU |
	vhostuser.ProtoCrossEndian | vhostuser.ProtoConfig | vhostuser.ProtoResetDevice | vhostuser.ProtoStatus

// passes reports whether a request is carried, either way.
func passes(r vhostuser.Request) bool {
	switch r {
	case vhostuser.SetLogBase, vhostuser.SetLogFD:
		return false
	case vhostuser.SetVringEndian, vhostuser.GetConfig, vhostuser.SetConfig,
		vhostuser.ResetDevice, vhostuser.SetStatus, vhostuser.GetStatus:
		return true
	}
	return r >= vhostuser.GetFeatures && r <= vhostuser.NetSetMTU
}

// deliver puts a message of the front-end into a buffer of rxq, and waits while
// there is none. It fails when the session has ended.
func (d *Device) deliver(s *session, m vhostuser.Message) error {
	wire := m.Append(nil)
	d.mu.Lock()
	defer d.unlock()
	for {
		if d.session != s {
			return net.ErrClosed
		}
		var c vring.Chain
		var short error
		result := d.pop(rxq, &c, func() (uint32, bool) {
			if uint64(c.WriteLen) < uint64(len(wire)) {
				short = fmt.Errorf("buffer of %d bytes for %v, which needs %d", c.WriteLen, m, len(wire))
				return 0, false
			}
			rest := wire
			for _, view := range c.Write {
				rest = rest[copy(view, rest):]
			}
			return uint32(len(wire)), true
		})
		switch {
		case short != nil:
			d.needsReset(short) // ends the session
		case result == taken:
			return nil
		default:
			d.wait()
		}
	}
}

// sendReplies passes the driver's replies to the front-end until the session
// ends. At most one is under way; the others wait in txq.
func (s *session) sendReplies() {
	for {
		m, ok := s.d.nextReply(s)
		if !ok {
			return
		}
		if err := s.conn.WriteMessage(m); err != nil {
			s.fail(err)
			return
		}
	}
}

// nextReply waits for the driver's next reply, or false when the session ends.
func (d *Device) nextReply(s *session) (vhostuser.Message, bool) {
	d.mu.Lock()
	defer d.unlock()
	for d.session == s {
		m, result := d.takeReply()
		if result != taken {
			d.wait()
			continue
		}
		if d.session != s { // the reply was such that the device needs a reset
			break
		}
		if err := d.checkReply(&m); err != nil {
			d.end(s, err, true)
			break
		}
		return m, true
	}
	return vhostuser.Message{}, false
}

// dropReplies consumes what the driver sends while no one is there to hear it;
// mu is held. A driver that adds messages as fast as they are dropped, or whose
// rings overlap so that it looks like that, gets no more than a queue full at a
// time, whatever it notifies: others want mu too.
func (d *Device) dropReplies() {
	if d.dropping {
		return
	}
	for range queueSize {
		if _, result := d.takeReply(); result != taken {
			return
		}
	}
	d.dropping = true
	time.AfterFunc(dropPause, func() {
		d.mu.Lock()
		defer d.unlock()
		d.dropping = false
		if !d.connected() {
			d.dropReplies()
		}
	})
}

const dropPause = time.Millisecond

// takeReply takes a message out of txq. One that is no message at all puts the
// device out of action (contract 3.1). mu is held.
func (d *Device) takeReply() (m vhostuser.Message, result outcome) {
	var c vring.Chain
	var bad error
	result = d.pop(txq, &c, func() (uint32, bool) {
		if c.ReadLen < vhostuser.HeaderSize || c.ReadLen > vhostuser.MaxMessage {
			bad = fmt.Errorf("message of %d bytes in txq, want %d to %d", c.ReadLen, vhostuser.HeaderSize, vhostuser.MaxMessage)
			return 0, false
		}
		wire := make([]byte, 0, c.ReadLen)
		for _, view := range c.Read {
			wire = append(wire, view...)
		}
		m, bad = vhostuser.Parse(wire)
		return 0, bad == nil
	})
	if bad != nil {
		d.needsReset(fmt.Errorf("txq: %w", bad))
		return m, empty
	}
	return m, result
}

// checkReply checks a well-formed message of the driver, and keeps to itself what
// this device does not carry. mu is held.
func (d *Device) checkReply(m *vhostuser.Message) error {
	if m.Flags&vhostuser.VersionMask != vhostuser.Version || m.Flags&vhostuser.FlagReply == 0 {
		return fmt.Errorf("%v from the driver has flags %#x", m.Request, m.Flags)
	}
	if !passes(m.Request) {
		return fmt.Errorf("%v from the driver cannot pass through this device", m.Request)
	}
	switch m.Request {
	case vhostuser.GetProtocolFeatures:
		var v vhostuser.U64
		if err := v.Decode(m.Payload); err != nil {
			return fmt.Errorf("reply to %v from the driver: %w", m.Request, err)
		}
		m.Payload = (v & vhostuser.U64(carried)).Append(nil)
	case vhostuser.GetVringBase: // the ring is stopped: nothing is to be notified any more
		var v vhostuser.VringState
		if err := v.Decode(m.Payload); err != nil {
			return fmt.Errorf("reply to %v from the driver: %w", m.Request, err)
		}
		if uint64(v.Index) < uint64(len(d.rings)) {
			d.release(int(v.Index))
		}
	}
	return nil
}
