package l2nat

import "time"

// limits bound what a table remembers.
type limits struct {
	addresses int // in all
	stations  int // that have any
	each      int // addresses of a station
}

// defaultLimits take some 700 KiB. A Linux guest has some ten addresses.
var defaultLimits = limits{addresses: 4096, stations: 1024, each: 64}

// steps is how finely ages are measured.
const steps = 64

// table knows whose an IP address is. It has no clock but tick, and belongs to the loop.
type table struct {
	limits
	now   uint32        // in steps
	step  time.Duration // how long one is
	start time.Time
	hand  int // where tick goes on

	owners   *hashed[address, owner]
	stations *hashed[mac, int] // how many addresses each has

	changes uint64 // goes up whenever an address has another owner, or none
	moved   uint64 // addresses that went from one station to another
	refused uint64 // addresses that were not remembered, each time
}

// owner is the station that an address belongs to.
type owner struct {
	station mac
	seen    uint32 // step in which it last sent from there
	leased  bool   // a DHCP server gave it to that station
}

// newTable makes a table whose addresses are kept for age after they were used last.
func newTable(l limits, age time.Duration) *table {
	return &table{
		limits: l, step: max(age/steps, 1),
		owners:   newHashed[address, owner](l.addresses, address.words),
		stations: newHashed[mac, int](l.stations, func(a mac) (uint64, uint64) { return uint64(a), 0 }),
	}
}

// fresh reports whether an address still belongs to its owner.
func (t *table) fresh(o *owner) bool { return t.now-o.seen <= steps }

// claim notes that a station has sent from an address that a station can have, or, if it is leased, that
// a DHCP server gave it the address: that counts more than to have used it. It returns false if the address is
// another's.
func (t *table) claim(a address, station mac, leased bool) bool {
	i, found := t.owners.find(a)
	if found {
		o := &t.owners.slots[i].value
		switch {
		case o.station == station:
			o.seen, o.leased = t.now, o.leased || leased
			return true
		case t.fresh(o) && (o.leased || !leased):
			return false
		}
		t.forget(i)
		i, _ = t.owners.find(a)
	}
	s, known := t.stations.find(station)
	switch {
	case t.owners.used == t.addresses, known && t.stations.slots[s].value == t.each, !known && t.stations.used == t.limits.stations:
		t.refused++
		return true
	case known:
		t.stations.slots[s].value++
	default:
		t.stations.put(s, station, 1)
	}
	if found {
		t.moved++
	}
	t.changes++
	t.owners.put(i, a, owner{station, t.now, leased})
	return true
}

// owner is the station to which an address belongs, or 0.
func (t *table) owner(a address) mac {
	i, found := t.owners.find(a)
	if !found || !t.fresh(&t.owners.slots[i].value) {
		return 0
	}
	return t.owners.slots[i].value.station
}

// forget removes the address in slot i.
func (t *table) forget(i int) {
	s, _ := t.stations.find(t.owners.slots[i].value.station)
	if t.stations.slots[s].value--; t.stations.slots[s].value == 0 {
		t.stations.remove(s)
	}
	t.changes++
	t.owners.remove(i)
}

// tick moves time on and forgets some of what has aged.
func (t *table) tick(now time.Time) {
	if t.start.IsZero() {
		t.start = now
	}
	t.now = uint32(max(0, now.Sub(t.start)) / t.step)
	for range sweep {
		if s := &t.owners.slots[t.hand]; s.full && !t.fresh(&s.value) {
			t.forget(t.hand) // another may take its place: look again
		} else {
			t.hand = (t.hand + 1) & (len(t.owners.slots) - 1)
		}
	}
}

// sweep is how many slots are looked at in each tick, for some ten nanoseconds.
const sweep = 16
