package igbvf

import (
	"encoding/binary"
	"errors"
	"net"
)

// reset is the handshake after a reset (82576 chapter 7): the physical function answers with
// the address that it has for us. It says no if it has none, and serves us all the same.
func (m *mailbox) reset() (mac net.HardwareAddr, err error) {
	answer, err := m.ask(msgReset)
	if err != nil && !errors.Is(err, errRefused) {
		return nil, err
	}
	if err != nil || answer[0]&msgAck == 0 {
		return nil, nil
	}
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], answer[1])
	binary.LittleEndian.PutUint32(b[4:], answer[2])
	if mac = net.HardwareAddr(b[:6]); mac[0]&1 != 0 || binary.LittleEndian.Uint64(b[:])<<16 == 0 {
		return nil, nil
	}
	return mac, nil
}

// What a message about an address wants, if not that it be the function's own.
const (
	macsClear = 1 << msgArgs
	macsAdd   = 2 << msgArgs
)

func (m *mailbox) askMAC(what uint32, mac [6]byte) error {
	_, err := m.ask(msgMAC|what, binary.LittleEndian.Uint32(mac[:]), uint32(binary.LittleEndian.Uint16(mac[4:])))
	return err
}

// setMAC asks for the frames to an address.
func (m *mailbox) setMAC(mac [6]byte) error { return m.askMAC(0, mac) }

// addMAC asks for the frames to one more address. Not all drivers know that.
func (m *mailbox) addMAC(mac [6]byte) error { return m.askMAC(macsAdd, mac) }

// clearMACs takes back all that addMAC has asked for. It comes with the function's own address:
// Linux's driver refuses this, too, without a valid one, and one that does not know it sets it.
func (m *mailbox) clearMACs(own [6]byte) error { return m.askMAC(macsClear, own) }

// setLongest asks for frames of up to n bytes.
func (m *mailbox) setLongest(n int) error {
	_, err := m.ask(msgLongest, uint32(n))
	return err
}

// dropVLAN takes back what addVLAN has asked for.
func (m *mailbox) dropVLAN(id uint16) error {
	_, err := m.ask(msgVLAN, uint32(id))
	return err
}

// addVLAN asks for the frames of a VLAN.
func (m *mailbox) addVLAN(id uint16) error {
	const add = 1 << msgArgs
	_, err := m.ask(msgVLAN|add, uint32(id))
	return err
}

// maxGroups is how many addresses a message has room for.
const maxGroups = 30

// setGroups asks for the frames to groups: all of them, or if that is refused those whose
// hash is one of these.
func (m *mailbox) setGroups(macs [][6]byte) error {
	const all = promiscAll << msgArgs
	if _, err := m.ask(msgPromisc | all); err == nil || !errors.Is(err, errRefused) {
		return err
	}
	macs = macs[:min(len(macs), maxGroups)]
	words := make([]uint32, 1+(len(macs)+1)/2)
	words[0] = msgMulticast | uint32(len(macs))<<msgArgs
	for i, mac := range macs {
		words[1+i/2] |= uint32(hash(mac)) << (16 * (i % 2))
	}
	_, err := m.ask(words...)
	return err
}

// hash is what a group's address is found by: bits 47 to 36 of it (82576 chapter 8, MO 00b).
func hash(mac [6]byte) uint16 { return uint16(mac[4])>>4 | uint16(mac[5])<<4 }
