package igbvf

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// asked is what the function has asked for on behalf of who sends through it.
type asked struct {
	mac     [6]byte   // its own address
	more    [][6]byte // others
	vlans   []uint16
	solicit [][6]byte // of whom it has asked for the groups
	refused atomic.Uint64
}

// Bounds on what an app VM can make us ask for. A physical function has 24 addresses for all,
// and 32 VLANs.
const (
	maxMACs  = 16
	maxVLANs = 31
)

// common are groups that stations belong to without saying so: all nodes of IPv4 and IPv6, and
// names on the local link.
var common = [][6]byte{
	{0x01, 0x00, 0x5e, 0, 0, 1}, {0x33, 0x33, 0, 0, 0, 1}, {0x01, 0x00, 0x5e, 0, 0, 0xfb}, {0x33, 0x33, 0, 0, 0, 0xfb},
	{0x33, 0x33, 0, 0, 0, 2}, {0x33, 0x33, 0, 1, 0, 2},
}

// groups asks for the frames to groups that stations with these addresses have to hear.
// That includes the group in which a station of IPv6 is looked for, which ends as its address
// does, if that comes from its hardware's.
func (a *asked) groups(box *mailbox, macs [][6]byte) error {
	all := slices.Clone(common)
	for _, mac := range macs {
		all = append(all, [6]byte{0x33, 0x33, 0xff, mac[3], mac[4], mac[5]})
	}
	a.solicit = macs
	if err := box.setGroups(all); err != nil && !errors.Is(err, errRefused) {
		return err
	}
	return nil
}

// agePeriod is after how long addresses are older. It is time that counts: Watch looks more or
// less often, as it has reason to.
const agePeriod = 30 * time.Second

// check is called by Watch, whenever it looks.
func (c *card) check() error {
	if err := c.hear(); err != nil {
		return fmt.Errorf("%s: %w", c.Info().Name, err)
	}
	if now := c.now(); now.Sub(c.aged) >= agePeriod {
		c.aged = now
		c.voices.Age()
	}
	if err := c.follow(); err != nil {
		return fmt.Errorf("%s: %w", c.Info().Name, err)
	}
	return nil
}

// hear takes what the physical function has to say. After it was reset nothing is left of
// what it was asked for.
func (c *card) hear() error {
	if c.box.take(mbWasReset) || c.box.look()&mbResets != 0 {
		return errReset
	}
	if !c.box.take(mbFromPF) {
		return nil
	}
	msg, err := c.box.read()
	if err != nil {
		return err
	}
	// It pings when its link changes, which we see by ourselves; without CTS it has
	// forgotten us.
	if msg[0]&msgClear == 0 {
		return errReset
	}
	return nil
}

// follow asks for the frames to addresses that frames are sent from.
func (c *card) follow() error {
	a := &c.asked
	heard := c.voices.All(nil)
	slices.SortFunc(heard, func(x, y [6]byte) int { return slices.Compare(x[:], y[:]) })
	for _, mac := range heard {
		if mac == a.mac || slices.Contains(a.more, mac) || len(a.more) >= maxMACs {
			continue
		}
		// Nearly always there is one station, and its frames may be dropped for as long as
		// its address is not ours.
		ask := c.box.addMAC
		if !slices.Contains(heard, a.mac) {
			ask = c.box.setMAC
		}
		switch err := ask(mac); {
		case errors.Is(err, errRefused):
			a.refused.Add(1)
			a.more = append(a.more, mac) // not asked for again
		case err != nil:
			return err
		case slices.Contains(heard, a.mac):
			a.more = append(a.more, mac)
		default:
			a.mac = mac
		}
	}
	if slices.ContainsFunc(heard, func(mac [6]byte) bool { return !slices.Contains(a.solicit, mac) }) {
		if err := a.groups(&c.box, heard); err != nil {
			return err
		}
	}
	for _, id := range c.voices.VLANs() {
		if id == 0 || slices.Contains(a.vlans, id) || len(a.vlans) >= maxVLANs {
			continue
		}
		a.vlans = append(a.vlans, id)
		switch err := c.box.setVLAN(id); {
		case errors.Is(err, errRefused):
			a.refused.Add(1)
		case err != nil:
			return err
		}
	}
	return nil
}
