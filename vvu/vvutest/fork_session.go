package vvutest

import (
	"fmt"
	"time"

	"vvufwd/vvu/vhostuser"
)

// forkProtocol is the mask that the fork applies to protocol features: the bit
// numbers of MQ and REPLY_ACK, or-ed, which lets MQ and LOG_SHMFD through.
const forkProtocol = 0x3

// forkPasses are the requests that the fork knows (contract 3.2). SET_VRING_ERR
// is not among them.
func forkPasses(r vhostuser.Request) bool {
	switch {
	case r >= vhostuser.GetFeatures && r <= vhostuser.SetMemTable:
		return true
	case r >= vhostuser.SetVringNum && r <= vhostuser.SetVringCall:
		return true
	}
	return r >= vhostuser.GetProtocolFeatures && r <= vhostuser.SetVringEnable
}

func maskProtocol(m *vhostuser.Message) {
	var v vhostuser.U64
	if v.Decode(m.Payload) == nil {
		m.Payload = (v & forkProtocol).Append(nil)
	}
}

// serve reads a front-end's messages until it closes its socket.
func (f *Fork) serve(c *vhostuser.Conn) {
	f.mu.Lock()
	f.frontend = c
	f.opened()
	f.mu.Unlock()
	for {
		m, err := c.ReadMessage()
		if err != nil {
			break
		}
		f.pass(m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed()
	c.Close()
}

// pass takes a message to the driver. While the driver is down the message stays
// where it is, as the fork does not read then. Afterwards the stream goes on at the
// next message, whatever the driver that comes knows of it.
func (f *Fork) pass(m vhostuser.Message) {
	defer m.CloseFDs()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.awaitConnection()
	if f.done {
		return
	}
	if err := f.admit(&m); err != nil {
		f.t.Logf("fork: dropping the session: %v", err)
		f.drop(true)
		return
	}
	session := f.session
	for !f.deliver(m) {
		seen := f.queues[rxq].notified
		for f.queues[rxq].notified == seen { // a buffer alone does not wake the device
			if f.done || f.session != session {
				return
			}
			f.cond.Wait()
		}
	}
}

// awaitConnection waits until the device has been connected for as long as it hesitates; mu
// is held, but not meanwhile.
func (f *Fork) awaitConnection() {
	for {
		for !f.connected() && !f.done {
			f.cond.Wait()
		}
		session := f.session
		if f.done || f.cfg.Hesitates == 0 || f.reads && f.readsIn == session {
			return
		}
		f.mu.Unlock()
		time.Sleep(f.cfg.Hesitates)
		f.mu.Lock()
		f.reads, f.readsIn = f.connected(), session
	}
}

// admit does what the device does with a message before the driver gets it; mu is
// held.
func (f *Fork) admit(m *vhostuser.Message) error {
	if m.Flags&vhostuser.VersionMask != vhostuser.Version || m.Flags&vhostuser.FlagReply != 0 {
		return fmt.Errorf("%v has flags %#x", m.Request, m.Flags)
	}
	if !forkPasses(m.Request) || len(m.Payload) > forkMessage-vhostuser.HeaderSize {
		return fmt.Errorf("%v is unknown or too long", m)
	}
	switch m.Request {
	case vhostuser.SetProtocolFeatures:
		maskProtocol(m)
	case vhostuser.SetMemTable:
		return f.setMemTable(m)
	case vhostuser.GetVringBase:
		var v vhostuser.VringState
		if v.Decode(m.Payload) == nil && v.Index < forkRings {
			f.setKick(int(v.Index), -1)
			f.setCall(int(v.Index), -1)
		}
	case vhostuser.SetVringKick, vhostuser.SetVringCall:
		return f.notifier(m)
	}
	return nil
}

func (f *Fork) setMemTable(m *vhostuser.Message) error {
	var table vhostuser.MemoryTable
	if err := table.Decode(m.Payload); err != nil {
		return err
	}
	if len(table) > 8 || len(m.FDs) != len(table) {
		return fmt.Errorf("%d regions with %d files", len(table), len(m.FDs))
	}
	return f.bar.place(table, m.FDs)
}

func (f *Fork) notifier(m *vhostuser.Message) error {
	var v vhostuser.VringFD
	if err := v.Decode(m.Payload); err != nil {
		return err
	}
	fd := -1
	if !v.NoFD {
		if len(m.FDs) != 1 {
			return fmt.Errorf("%v: the fork aborts without a descriptor", m)
		}
		fd, m.FDs = m.FDs[0], nil
	}
	if m.Request == vhostuser.SetVringKick {
		f.setKick(int(v.Index), fd)
	} else {
		f.setCall(int(v.Index), fd)
	}
	return nil
}
