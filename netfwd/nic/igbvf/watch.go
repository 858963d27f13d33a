package igbvf

import (
	"errors"
	"fmt"
	"maps"
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
	// Those that are sent from, or to, and were refused or have no place. They are counted
	// once, and asked for again only when there is hope.
	noMACs  map[[6]byte]bool
	noVLANs map[uint16]bool
	refused atomic.Uint64
	// stale says that addresses are older than when those that are silent last made room.
	stale bool
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
		c.asked.stale = true
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

// follow asks for the frames to addresses that frames are sent from, and of their VLANs.
func (c *card) follow() error {
	a := &c.asked
	heard := c.voices.All(nil)
	slices.SortFunc(heard, func(x, y [6]byte) int { return slices.Compare(x[:], y[:]) })
	if err := a.followMACs(&c.box, heard); err != nil {
		return err
	}
	if slices.ContainsFunc(heard, func(mac [6]byte) bool { return !slices.Contains(a.solicit, mac) }) {
		if err := a.groups(&c.box, heard); err != nil {
			return err
		}
	}
	return a.followVLANs(&c.box, c.voices.VLANs())
}

// followMACs asks for the frames to addresses that are heard.
func (a *asked) followMACs(box *mailbox, heard [][6]byte) error {
	silent := func(mac [6]byte) bool { return !slices.Contains(heard, mac) }
	maps.DeleteFunc(a.noMACs, func(mac [6]byte, _ bool) bool { return silent(mac) })
	room, err := a.makeRoom(box, heard, silent)
	if err != nil {
		return err
	}
	full := false // one no in a look is for all: no place is left, or none of them is allowed
	for _, mac := range heard {
		if mac == a.mac || slices.Contains(a.more, mac) || a.noMACs[mac] && !room {
			continue
		}
		err := errRefused
		switch {
		case full:
		case silent(a.mac):
			// Nearly always there is one station, and its frames may be dropped for as long
			// as its address is not ours.
			if err = box.setMAC(mac); err == nil {
				a.mac = mac
			}
		case len(a.more) < maxMACs:
			if err = box.addMAC(mac); err == nil {
				a.more = append(a.more, mac)
			}
		}
		if err != nil && !errors.Is(err, errRefused) {
			return err
		}
		full = err != nil
		note(a, a.noMACs, mac, full)
	}
	return nil
}

// makeRoom takes back the addresses that were asked for, if one has no place and another is
// silent; followMACs asks again for those that are not. It reports whether those that had no
// place may have one now. No address is taken back without need: a station that only listens
// is silent too. And it happens once in an age, however many addresses an app VM makes up.
func (a *asked) makeRoom(box *mailbox, heard [][6]byte, silent func([6]byte) bool) (bool, error) {
	places := len(a.more)
	for _, mac := range heard {
		if mac != a.mac && !slices.Contains(a.more, mac) {
			places++
		}
	}
	crowded := len(a.noMACs) > 0 || places > maxMACs
	gone := slices.ContainsFunc(a.more, silent)
	// Where none was ever granted there is no use in asking again every now and then.
	if !a.stale || !crowded || len(a.more) == 0 || !gone && !silent(a.mac) {
		return false, nil
	}
	a.stale = false
	if !gone {
		return true, nil
	}
	switch err := box.clearMACs(a.mac); {
	case errors.Is(err, errRefused):
		a.refused.Add(1)
	case err != nil:
		return false, err
	default:
		a.more = nil
	}
	return true, nil
}

// followVLANs is followMACs for VLANs, which are taken back one by one. They come in order.
func (a *asked) followVLANs(box *mailbox, heard []uint16) error {
	silent := func(id uint16) bool {
		_, found := slices.BinarySearch(heard, id)
		return !found
	}
	maps.DeleteFunc(a.noVLANs, func(id uint16, _ bool) bool { return silent(id) })
	room := len(a.vlans) >= maxVLANs && slices.ContainsFunc(a.vlans, silent)
	full := false
	for _, id := range heard {
		if id == 0 || slices.Contains(a.vlans, id) || a.noVLANs[id] && !room {
			continue
		}
		if i := slices.IndexFunc(a.vlans, silent); i >= 0 && len(a.vlans) >= maxVLANs {
			if err := box.dropVLAN(a.vlans[i]); err != nil && !errors.Is(err, errRefused) {
				return err
			}
			a.vlans = slices.Delete(a.vlans, i, i+1)
		}
		err := errRefused
		if !full && len(a.vlans) < maxVLANs {
			err = box.addVLAN(id)
		}
		switch {
		case err == nil:
			a.vlans = append(a.vlans, id)
		case !errors.Is(err, errRefused):
			return err
		}
		full = err != nil
		note(a, a.noVLANs, id, full)
	}
	return nil
}

// note keeps who has no place, and counts those that are new.
func note[T comparable](a *asked, without map[T]bool, what T, refused bool) {
	if !refused {
		delete(without, what)
	} else if !without[what] {
		without[what] = true
		a.refused.Add(1)
	}
}
