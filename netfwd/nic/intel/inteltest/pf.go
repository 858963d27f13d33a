package inteltest

import (
	"encoding/binary"
	"slices"
)

// PF is the driver of a physical function, at the other end of a virtual one's mailbox.
type PF struct {
	MAC    *[6]byte // that it has for the virtual function; nil: none
	Down   bool     // it does not answer
	Refuse []uint32 // messages that it says no to

	clear bool // the virtual function has been reset and may send
	Log   []uint32
	MACs  [][6]byte // that it has: by SET_MAC, if there was one, and then those that were added
	own   int       // how many of them by SET_MAC
	VLANs []uint32
	Last  []uint32 // the last message's words
}

func (p *PF) forget() { p.clear = false }

// mailbox is what a store to the register does.
func (c *Chip) mailbox(v uint32) {
	at := &c.regs[regMailbox/4]
	if v&1 != 0 { // request
		*at &^= 4
		if !c.PF.Down {
			*at |= 0x20 // taken
			c.answer()
		}
		return
	}
	if v&2 != 0 { // ack
		*at &^= 4
		return
	}
	*at = *at&^4 | v&4
}

// answer takes the message in the mailbox and answers it.
func (c *Chip) answer() {
	p, m := c.PF, c.regs[regMailboxMem/4:regMailboxMem/4+16]
	kind := m[0] & 0xffff
	p.Log = append(p.Log, m[0])
	p.Last = slices.Clone(m)
	const ack, nack, cts = 1 << 31, 1 << 30, 1 << 29
	reply := m[0] | ack | cts
	switch {
	case kind == 1:
		p.clear = true
		if reply = kind | ack | cts; p.MAC == nil {
			reply = kind | nack
			break
		}
		m[1], m[2] = binary.LittleEndian.Uint32(p.MAC[:]), uint32(binary.LittleEndian.Uint16(p.MAC[4:]))
	case !p.clear || slices.Contains(p.Refuse, kind):
		reply = m[0] | nack | cts
	case kind == 2:
		if !p.address(m) {
			reply = m[0] | nack | cts
		}
	case kind == 4:
		p.VLANs = slices.DeleteFunc(p.VLANs, func(id uint32) bool { return id == m[1] })
		if m[0]>>16&0xff != 0 {
			p.VLANs = append(p.VLANs, m[1])
		}
	}
	m[0] = reply
	c.regs[regMailbox/4] |= 0x10
}

// address does what a message about an address wants, as Linux's igb does: it sets the function's own,
// adds one, or clears those that were added. That one, too, must have a valid address.
func (p *PF) address(m []uint32) bool {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], m[1])
	binary.LittleEndian.PutUint32(b[4:], m[2])
	mac := [6]byte(b[:6])
	if mac[0]&1 != 0 || mac == [6]byte{} {
		return false
	}
	const set, clear, add = 0, 1, 2
	switch m[0] >> 16 & 0xff {
	case set:
		p.MACs, p.own = slices.Concat([][6]byte{mac}, p.MACs[p.own:]), 1
	case clear:
		p.MACs = p.MACs[:p.own:p.own]
	case add:
		p.MACs = append(p.MACs, mac)
	default:
		return false
	}
	return true
}

// Say has the physical function send a message by itself.
func (c *Chip) Say(word uint32) {
	c.mu.Lock()
	c.regs[regMailboxMem/4] = word
	c.regs[regMailbox/4] |= 0x10
	told := c.regs[c.setQueues/4]&1 != 0
	c.mu.Unlock()
	if told {
		c.interrupts(0)
	}
}

// ResetByPF is what a virtual function sees of a reset of the physical one.
func (c *Chip) ResetByPF() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	c.regs[regMailbox/4] |= 0x80
}
