package l2nat

import "sync/atomic"

// Stats are what statistics tell of stations behind a card.
type Stats struct {
	Stations  uint64 `json:"stations"`  // that have addresses
	Addresses uint64 `json:"addresses"` // that belong to a station
	Moved     uint64 `json:"moved"`     // addresses that went from one station to another
	Refused   uint64 `json:"refused"`   // times an address was not remembered, because there were too many
	Spoofed   uint64 `json:"spoofed"`   // frames that were not sent: the address is another station's
	Filtered  uint64 `json:"filtered"`  // frames that were not sent: neither IP nor ARP, or for the card itself
	Unmapped  uint64 `json:"unmapped"`  // frames for the card and for no station: the machine's own
	Foreign   uint64 `json:"foreign"`   // frames that were neither for the card nor for a group
	Echoes    uint64 `json:"echoes"`    // frames that came back, or told stations of the card
}

// counters are written by the loop alone, and read by anyone.
type counters struct {
	frames                              [verdicts]atomic.Uint64
	stations, addresses, moved, refused atomic.Uint64
}

// count counts what has become of a frame.
func (c *counters) count(v verdict) {
	if v != pass {
		c.frames[v].Store(c.frames[v].Load() + 1)
	}
}

// publish tells of the table.
func (c *counters) publish(t *translator) {
	set(&c.stations, uint64(t.table.stations.used))
	set(&c.addresses, uint64(t.table.owners.used))
	set(&c.moved, t.table.moved)
	set(&c.refused, t.table.refused)
}

// set stores what has changed: a store costs more than a load.
func set(to *atomic.Uint64, v uint64) {
	if to.Load() != v {
		to.Store(v)
	}
}

func (c *counters) stats() Stats {
	return Stats{
		Stations: c.stations.Load(), Addresses: c.addresses.Load(), Moved: c.moved.Load(), Refused: c.refused.Load(),
		Spoofed: c.frames[spoofed].Load(), Filtered: c.frames[filtered].Load(),
		Unmapped: c.frames[unmapped].Load(), Foreign: c.frames[foreign].Load(), Echoes: c.frames[echo].Load(),
	}
}
