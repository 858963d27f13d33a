package l2nat

import "time"

// verdict is what becomes of a frame.
type verdict uint8

const (
	pass     verdict = iota
	spoofed          // out: the IP address is another station's
	filtered         // out: nothing that may leave through the card
	unmapped         // in: for no station, such as the machine's own
	foreign          // in: neither for the card nor for a group
	echo             // in: of the card itself
	verdicts
)

// translator changes frames between a card and the stations behind it, one after the other, in place. It
// has no clock but what it is told, and belongs to the loop.
type translator struct {
	card     mac // its address; 0: there is no card now
	table    *table
	dealings dealings

	// What was claimed last, which holds for as long as the step and while no address has another owner.
	last struct {
		address
		station mac
		step    uint32
		changes uint64
	}
}

func newTranslator(l limits, age time.Duration) *translator {
	return &translator{table: newTable(l, age)}
}

// out makes of a station's frame one of the card's. undone is where in it a checksum stands that someone
// else completes, or less than 0. If it is not to pass it may be changed in part.
func (t *translator) out(b []byte, undone int) verdict {
	f := parse(b)
	station := f.source()
	switch {
	case station == 0 || station.isGroup():
		return spoofed
	case t.card == 0 || f.destination() == t.card: // no one is there
		return filtered
	}
	v := filtered
	switch f.kind {
	case typeIPv4:
		v = t.ip4Out(&f, station, undone)
	case typeIPv6:
		v = t.ip6Out(&f, station, undone)
	case typeARP, typeRARP:
		v = t.arpOut(&f, station)
	}
	t.card.put(b[etherSource:])
	return v
}

// in makes of a frame that the card has received one for a station or a group.
func (t *translator) in(b []byte) verdict {
	f := parse(b)
	if f.source() == t.card {
		return echo
	}
	group := f.destination().isGroup()
	if !group && f.destination() != t.card {
		return foreign
	}
	var to mac
	var v verdict
	switch f.kind {
	case typeIPv4:
		to, v = t.ip4In(&f)
	case typeIPv6:
		to, v = t.ip6In(&f)
	case typeARP:
		to, v = t.arpIn(&f)
	}
	switch {
	case v != pass || group:
		return v
	case to == 0:
		return unmapped
	}
	to.put(b[etherDestination:])
	return pass
}

// claim is table.claim, which frames in trains need not ask.
func (t *translator) claim(a address, station mac) bool {
	l := &t.last
	if l.address == a && l.station == station && l.step == t.table.now && l.changes == t.table.changes {
		return true
	}
	if !t.table.claim(a, station, false) {
		return false
	}
	l.address, l.station, l.step, l.changes = a, station, t.table.now, t.table.changes
	return true
}

// owner is table.owner.
func (t *translator) owner(a address) mac { return t.table.owner(a) }
