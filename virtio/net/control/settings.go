package control

import (
	"encoding/binary"

	"vvufwd/virtio"
	"vvufwd/virtio/net/guest"
)

// Features are those that give a guest commands which are understood here. MQ is one of
// them, for who offers it.
const Features = virtio.NetCtrlVQ | virtio.NetCtrlRX | virtio.NetCtrlRXExtra | virtio.NetCtrlVLAN | virtio.NetCtrlMACAddr

// Classes of commands, and commands (5.1.6.5).
const (
	classRX       = 0
	classMAC      = 1
	classVLAN     = 2
	classAnnounce = 3
	classMQ       = 4

	rxPromiscuous = 0
	rxAllMulti    = 1
	rxAllUni      = 2
	rxNoMulti     = 3
	rxNoUni       = 4
	rxNoBroadcast = 5

	macTableSet = 0
	macAddrSet  = 1

	vlanAdd = 0
	vlanDel = 1

	announceAck = 0

	mqPairsSet = 0
)

// maxAddresses is how many addresses a filter has of each kind. A guest that wants more
// gets all of that kind, which a device may do (5.1.6.5.2).
const maxAddresses = 256

// Config is what commands depend on.
type Config struct {
	Features virtio.Features // negotiated
	MaxPairs int             // max_virtqueue_pairs, as the guest has been told
	// SetMAC gives the device another address, or returns false if it must not have it.
	SetMAC func(mac [6]byte) bool
}

// Settings are what a guest has told its device through the control queue. One goroutine
// at a time uses them.
type Settings struct {
	cfg   Config
	pairs int

	// By command, below rxNoBroadcast+1. Promiscuous is how a device begins whose driver
	// may not know the commands, as QEMU's does.
	rx        [rxNoBroadcast + 1]bool
	addresses map[guest.Station]struct{}
	more      [2]bool // of unicast, of multicast addresses, the guest wants more than are kept
	vlans     guest.VLANSet
	allVLANs  bool // it is not known which
}

// New returns what a device begins with after its reset: one queue pair, all frames.
func New(cfg Config) *Settings {
	s := &Settings{cfg: cfg, pairs: 1}
	s.rx[rxPromiscuous] = true
	return s
}

// Unknown returns settings for a guest that may have made some which no one remembers: it
// may be using all queue pairs, and gets all frames that later commands do not rule out.
func Unknown(cfg Config) *Settings {
	s := New(cfg)
	s.pairs, s.more, s.allVLANs = cfg.MaxPairs, [2]bool{true, true}, true
	return s
}

// Configure changes what commands depend on.
func (s *Settings) Configure(cfg Config) { s.cfg = cfg }

// Pairs is how many queue pairs, the first ones, the guest wants to receive at (5.1.6.5.5).
func (s *Settings) Pairs() int { return s.pairs }

// Filter is which frames the guest wants, nil if all. The device's own address is zero if
// it is not known: then all unicast frames may be for it.
func (s *Settings) Filter(own [6]byte) *guest.Filter {
	if s.rx[rxPromiscuous] {
		return nil
	}
	f := &guest.Filter{
		NoUnicast: s.rx[rxNoUni], NoMulticast: s.rx[rxNoMulti], NoBroadcast: s.rx[rxNoBroadcast],
		AllUnicast:   s.rx[rxAllUni] || s.more[0] || own == [6]byte{},
		AllMulticast: s.rx[rxAllMulti] || s.more[1],
		Addresses:    map[guest.Station]struct{}{guest.StationOf(own): {}},
	}
	for a := range s.addresses {
		f.Addresses[a] = struct{}{}
	}
	if s.cfg.Features.Has(virtio.NetCtrlVLAN) && !s.allVLANs {
		vlans := s.vlans
		f.VLANs = &vlans
	}
	return f
}

// Do carries a command out. It returns false, with nothing changed, if the command is
// unknown, was not negotiated, or is malformed.
func (s *Settings) Do(class, command byte, data *Data) bool {
	has := s.cfg.Features.Has
	switch class {
	case classRX:
		return s.setRX(command, data)
	case classMAC:
		switch {
		case command == macTableSet && has(virtio.NetCtrlRX):
			return s.setTable(data)
		case command == macAddrSet && has(virtio.NetCtrlMACAddr):
			return s.setAddress(data)
		}
	case classVLAN:
		return has(virtio.NetCtrlVLAN) && s.setVLAN(command, data)
	case classAnnounce:
		return has(virtio.NetGuestAnnounce) && command == announceAck && data.Len() == 0
	case classMQ:
		return has(virtio.NetMQ) && command == mqPairsSet && s.setPairs(data)
	}
	return false
}

// setRX switches one of the receive modes on or off (5.1.6.5.1).
func (s *Settings) setRX(command byte, data *Data) bool {
	needs := virtio.NetCtrlRX
	if command > rxAllMulti {
		needs |= virtio.NetCtrlRXExtra
	}
	var on [1]byte
	if !s.cfg.Features.Has(needs) || int(command) >= len(s.rx) || !data.only(on[:]) || on[0] > 1 {
		return false
	}
	s.rx[command] = on[0] == 1
	return true
}

// setTable replaces the addresses (5.1.6.5.2): a list of unicast ones, then one of
// multicast ones, each with its length before it.
func (s *Settings) setTable(data *Data) bool {
	addresses, more := map[guest.Station]struct{}{}, [2]bool{}
	for kind := range more {
		n, ok := data.u32()
		const each = 6
		if !ok || uint64(n)*each > data.Len() {
			return false
		}
		if more[kind] = n > maxAddresses; more[kind] {
			data.Skip(uint64(n) * each)
			continue
		}
		for range n {
			var mac [each]byte
			data.Take(mac[:])
			addresses[guest.StationOf(mac)] = struct{}{}
		}
	}
	if data.Len() != 0 {
		return false
	}
	s.addresses, s.more = addresses, more
	return true
}

// setAddress changes the device's own address (5.1.6.5.2).
func (s *Settings) setAddress(data *Data) bool {
	var mac [6]byte
	return data.only(mac[:]) && mac != [6]byte{} && !guest.StationOf(mac).IsGroup() && s.cfg.SetMAC(mac)
}

// setVLAN lets frames of a VLAN in, or no longer (5.1.6.5.3).
func (s *Settings) setVLAN(command byte, data *Data) bool {
	id, ok := data.onlyU16()
	if !ok || id >= guest.MaxVLANs {
		return false
	}
	switch command {
	case vlanAdd:
		s.vlans.Add(id)
	case vlanDel:
		s.vlans.Remove(id)
	default:
		return false
	}
	return true
}

// setPairs chooses the number of queue pairs (5.1.6.5.5).
func (s *Settings) setPairs(data *Data) bool {
	n, ok := data.onlyU16()
	if !ok || n < 1 || int(n) > s.cfg.MaxPairs {
		return false
	}
	s.pairs = int(n)
	return true
}

// onlyU16 takes all that is left, which has to be a number of 16 bits.
func (d *Data) onlyU16() (uint16, bool) {
	var b [2]byte
	ok := d.only(b[:])
	return binary.LittleEndian.Uint16(b[:]), ok
}
