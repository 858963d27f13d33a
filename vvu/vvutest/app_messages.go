package vvutest

import (
	"errors"
	"fmt"

	"vvufwd/vvu/vhostuser"
)

// Settle returns when the back-end has handled every message sent so far.
func (a *App) Settle() error {
	_, err := a.Ask(vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	return err
}

// Reconnect goes on over a new connection, as the front-end does when it lost the
// one before. The guest's rings are where they were.
func (a *App) Reconnect(path string) error {
	a.Conn.Close()
	conn, err := vhostuser.Dial(path)
	if err != nil {
		return err // the old one stays, closed
	}
	a.Conn = conn
	return errors.Join(a.armDeadline(), a.Front.Reconnect(a.Conn))
}

// Share sends a memory table of its own, with need_reply if asked for, and leaves
// a reply unread.
func (a *App) Share(regions []vhostuser.MemoryRegion, needReply bool) error {
	m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable(regions))
	for range regions {
		m.FDs = append(m.FDs, a.ram.FD)
	}
	if needReply {
		m.Flags |= vhostuser.FlagNeedReply
	}
	return a.Conn.WriteMessage(m)
}

// StopRing stops one ring, as a front-end does whose guest resets that ring alone, and
// returns where it stood.
func (a *App) StopRing(ring int) (uint32, error) {
	m, err := a.Ask(vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: uint32(ring)}))
	if err != nil {
		return 0, err
	}
	var v vhostuser.VringState
	if err := v.Decode(m.Payload); err != nil || m.Request != vhostuser.GetVringBase || v.Index != uint32(ring) {
		return 0, fmt.Errorf("reply %v: %+v to the stop of ring %d (%v)", m, v, ring, err)
	}
	return v.Num, nil
}

// StartRing starts one ring at base. Settle waits for it.
func (a *App) StartRing(ring int, base uint32) error {
	r, i := a.queues[ring].ring(), uint32(ring)
	call := vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(ring), NoFD: true})
	if r.Call >= 0 {
		call = vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(ring)}, r.Call)
	}
	kick := vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(ring), NoFD: true})
	if r.Kick >= 0 {
		kick = vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(ring)}, r.Kick)
	}
	return a.tell(
		vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Index: i, Num: r.Num}),
		vhostuser.NewRequest(vhostuser.SetVringBase, vhostuser.VringState{Index: i, Num: base}),
		vhostuser.NewRequest(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: i, Desc: r.Desc, Used: r.Used, Avail: r.Avail}),
		kick, call,
	)
}

// Enable enables or disables one ring. Settle waits for it.
func (a *App) Enable(ring int, on bool) error {
	v := vhostuser.VringState{Index: uint32(ring)}
	if on {
		v.Num = 1
	}
	return a.tell(vhostuser.NewRequest(vhostuser.SetVringEnable, v))
}

// tell sends messages that have no replies.
func (a *App) tell(messages ...vhostuser.Message) error {
	for _, m := range messages {
		if err := a.Conn.WriteMessage(m); err != nil {
			return err
		}
	}
	return nil
}

// Ask sends a message and returns the reply.
func (a *App) Ask(m vhostuser.Message) (vhostuser.Message, error) {
	if err := errors.Join(a.armDeadline(), a.Conn.WriteMessage(m)); err != nil {
		return m, err
	}
	return a.Conn.ReadMessage()
}
