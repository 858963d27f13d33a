package netfwd

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"time"
)

// mac is an Ethernet address in the low 48 bits, its first byte lowest. Zero is no
// station's address.
type mac uint64

const (
	macBits   mac = 1<<48 - 1
	noStation     = ^mac(0) // no address at all
)

// isGroup reports whether a is a multicast or the broadcast address.
func (a mac) isGroup() bool { return a&1 != 0 }

// isReserved reports whether a is one of 01:80:c2:00:00:00 to 0f, whose frames are
// between neighbours and go through no switch (802.1Q, table 8-1).
func (a mac) isReserved() bool { return a&^(0x0f<<40) == 0x0000c28001 }

// macOf reads an address from 6 bytes.
func macOf(b []byte) mac {
	return mac(binary.LittleEndian.Uint32(b)) | mac(binary.LittleEndian.Uint16(b[4:]))<<32
}

// noPort is the place of an address that is not known.
const noPort = -1

// macTable knows behind which port of a switch a station is. It learns from source
// addresses, which whoever is behind a port may choose, so each port has a limit of
// its own: an app VM that invents addresses fills its own share. A port at its
// limit learns nothing new until something of its own has aged; that way what was
// known stays known. Addresses are learned for all VLANs alike.
//
// One goroutine owns it.
type macTable struct {
	// Open addressing with linear probing. The table is at most half full, with all
	// ports at their limits. The hash is secret, so that no one can choose addresses
	// that collide.
	slots []macSlot // a power of two
	seed  [2]uint64

	ports   []macShare
	fixed   int    // static addresses
	version uint32 // changes with every change of what lookup can answer

	// Time is counted in steps, of which an address lives for macSteps.
	start time.Time
	step  time.Duration
	now   uint32
	hand  int // where sweep goes on

	moves   uint64
	refused uint64 // addresses not learned because their port was at its limit

	// conflict is told of an address that two ports use, once as long as the table knows
	// it, if it returns true; it is asked again otherwise. It must not block.
	conflict func(address mac, ports [2]int) (told bool)
}

// macSlot is an address and its place; key 0 is an empty one.
type macSlot struct {
	key    mac
	seen   uint32 // step in which the address was last seen
	port   uint8
	before uint8 // the port where it was before, plus one; 0: none, or that peer is gone
	static bool
	told   bool // of a conflict about it
}

// macShare is a port's share of the table.
type macShare struct {
	limit   int
	learned int
	// uplink says that the port leads to a network. What was seen there last no other
	// port can claim, until it has been silent for the age.
	uplink bool
}

// macSteps is how finely ages are measured.
const macSteps = 64

// newMACTable makes a table for ports with these shares. Besides what is learned it
// holds one static address for each port.
func newMACTable(shares []macShare, age time.Duration) *macTable {
	t := &macTable{ports: shares, step: max(age/macSteps, 1), conflict: func(mac, [2]int) bool { return true }}
	room := len(shares)
	for _, s := range shares {
		room += s.limit
	}
	t.slots = make([]macSlot, 1<<bits.Len(uint(2*room-1)))
	var seed [16]byte
	rand.Read(seed[:]) // never fails
	t.seed = [2]uint64{binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]) | 1}
	return t
}

// home is where the search for key begins. One multiplication is not enough: addresses
// that differ in a few bits only, as those of one maker or one flooder do, would lie
// side by side under one secret in some hundreds.
func (t *macTable) home(key mac) int {
	hi, lo := bits.Mul64(uint64(key)^t.seed[0], t.seed[1])
	hi, lo = bits.Mul64(hi^lo, goldenRatio^t.seed[0]|1)
	return int(hi^lo) & (len(t.slots) - 1)
}

// goldenRatio is 2^64 divided by the golden ratio: bits without a pattern.
const goldenRatio = 0x9e3779b97f4a7c15

// find returns the slot of key, or the empty one where it would go.
func (t *macTable) find(key mac) int {
	i := t.home(key)
	for t.slots[i].key != key && t.slots[i].key != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	return i
}

// fresh reports whether a slot's address has not outlived its age.
func (t *macTable) fresh(s *macSlot) bool { return s.static || t.now-s.seen <= macSteps }

// fix gives a port a static address, once, before anything is learned.
func (t *macTable) fix(key mac, port int) {
	t.slots[t.find(key)] = macSlot{key: key, port: uint8(port), static: true}
	t.fixed++
}

// lookup returns the port behind which key is, or noPort.
func (t *macTable) lookup(key mac) int {
	s := &t.slots[t.find(key)]
	if s.key == 0 || !t.fresh(s) {
		return noPort
	}
	return int(s.port)
}

// learn notes that a frame from key came in at port. It returns false if it must
// not have: the address is another port's, for good or because it was seen at an
// uplink lately. From one app VM to another an address moves at once, as stations
// do that migrate; who wants none of that gives ports static addresses. An address that
// comes back to where it was is most likely one that two stations have.
func (t *macTable) learn(key mac, port int) bool {
	i := t.find(key)
	s := &t.slots[i]
	switch {
	case s.key == 0:
		if t.full(port) {
			return true
		}
		*s = macSlot{key: key, seen: t.now, port: uint8(port)}
		t.ports[port].learned++
		t.version++
	case int(s.port) == port:
		if !t.fresh(s) {
			t.version++
		}
		s.seen = t.now
	case s.static, t.ports[s.port].uplink && !t.ports[port].uplink && t.fresh(s):
		t.dispute(s, port)
		return false
	case t.full(port):
		return true
	default:
		if int(s.before) == port+1 && t.fresh(s) {
			t.dispute(s, port)
		}
		t.ports[s.port].learned--
		t.ports[port].learned++
		s.before, s.port, s.seen = s.port+1, uint8(port), t.now
		t.moves++
		t.version++
	}
	return true
}

// full reports, and counts, that a port cannot learn any more.
func (t *macTable) full(port int) bool {
	p := &t.ports[port]
	if p.learned < p.limit {
		return false
	}
	t.refused++
	return true
}

// dispute tells of an address that belongs to one port and comes from another.
func (t *macTable) dispute(s *macSlot, port int) {
	if !s.told {
		s.told = t.conflict(s.key, [2]int{int(s.port), port})
	}
}

// forget drops what was learned from a port, whose peer is gone.
func (t *macTable) forget(port int) {
	for i := 0; i < len(t.slots) && (t.ports[port].learned > 0 || t.moves > 0); {
		s := &t.slots[i]
		if int(s.before) == port+1 {
			s.before = 0
		}
		if s.key != 0 && !s.static && int(s.port) == port {
			t.remove(i) // another may take its place: look again
		} else {
			i++
		}
	}
}

// tick moves time on and drops some of what has aged.
func (t *macTable) tick(now time.Time) {
	if t.start.IsZero() {
		t.start = now
	}
	if step := uint32(now.Sub(t.start) / t.step); step != t.now {
		t.now = step
		t.version++
	}
	for range min(sweepSlots, len(t.slots)) {
		if s := &t.slots[t.hand]; s.key != 0 && !t.fresh(s) {
			t.remove(t.hand)
		} else {
			t.hand = (t.hand + 1) & (len(t.slots) - 1)
		}
	}
}

// sweepSlots are looked at each tick, some 100 ns.
const sweepSlots = 64

// remove empties slot i and closes the gap: of those after it up to the next empty
// slot, each moves that may stand there.
func (t *macTable) remove(i int) {
	t.ports[t.slots[i].port].learned--
	t.version++
	mask := len(t.slots) - 1
	for j := (i + 1) & mask; t.slots[j].key != 0; j = (j + 1) & mask {
		if (j-t.home(t.slots[j].key))&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = macSlot{}
}

// learned is the number of addresses that were learned and not dropped yet.
func (t *macTable) learned() int {
	n := 0
	for i := range t.ports {
		n += t.ports[i].learned
	}
	return n
}
