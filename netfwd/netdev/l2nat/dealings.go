package l2nat

import "math"

// dealing is what a client has to do with DHCP servers, as far as it tells whom an answer is for.
type dealing struct {
	xid     uint32
	chaddr  mac // the client's own address, by what it says
	vlan    uint32
	station mac // where it was sent from
}

// dealings are those of late. They belong to the loop.
type dealings [maxDealings]struct {
	dealing
	seen uint32 // step of the table in which the client has sent last
}

const (
	maxDealings = 256 // in all
	ownDealings = 8   // of a station
)

// note remembers a dealing, in place of the same one, the oldest one of a station that has
// too many, or an empty place, or the oldest of all.
func (d *dealings) note(what dealing, now uint32) {
	own, ownOldest, oldest := 0, 0, 0
	for i := range d {
		if d[i].dealing == what {
			d[i].seen = now
			return
		}
		if d.age(i, now) > d.age(oldest, now) {
			oldest = i
		}
		if d[i].station == what.station {
			if own++; own == 1 || d.age(i, now) > d.age(ownOldest, now) {
				ownOldest = i
			}
		}
	}
	if own >= ownDealings {
		oldest = ownOldest
	}
	d[oldest].dealing, d[oldest].seen = what, now
}

// age is for how many steps nothing was seen of a dealing.
func (d *dealings) age(i int, now uint32) uint32 {
	if d[i].station == 0 {
		return math.MaxUint32
	}
	return now - d[i].seen
}

// find is the station that an answer is for, or 0.
func (d *dealings) find(xid uint32, chaddr mac, vlan uint32, now uint32) mac {
	for i := range d {
		e := &d[i]
		if e.xid == xid && e.chaddr == chaddr && e.vlan == vlan && d.age(i, now) <= steps {
			return e.station
		}
	}
	return 0
}
