package intel

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Voices are the source addresses of what a queue sends. A virtual function needs them: it
// hears its own broadcasts, which must not go back to where they came from, and it has
// to ask for frames to each address, and of each VLAN. An address that was not sent from for two Ages is forgotten: it
// may be somewhere else by then. So is a VLAN that was not sent to.
//
// The queue writes; Age, All and VLANs belong to control.
type Voices struct {
	age     atomic.Uint32
	entries [numVoices]voice
	vlans   [4096 / 64]atomic.Uint64 // as bits, those that frames were sent to in this age
	before  [4096 / 64]uint64        // and in the one before
	echoed  atomic.Uint64
	// hurry is how many new addresses may still wake control, by an eventfd, before the next
	// Age: who sends from ever new ones does not keep it busy.
	hurry atomic.Int32
	wake  int
}

// numVoices bounds what an app VM can make us remember.
const numVoices = 64

type voice struct {
	addr atomic.Uint64 // as the low 48 bits of a word in the order of memory; 0: none
	age  atomic.Uint32
}

// wakes is how many new addresses wake control in an age.
const wakes = 8

// NewVoices returns an empty set. wake is an eventfd at which control waits for something
// new, or -1.
func NewVoices(wake int) *Voices {
	v := &Voices{wake: wake}
	v.age.Store(2) // entries of 0 are old
	v.hurry.Store(wakes)
	return v
}

const low48 = 1<<48 - 1

func source(frame []byte) uint64 { return binary.LittleEndian.Uint64(frame[6:]) & low48 }

func (v *Voices) place(addr uint64) *voice {
	return &v.entries[addr*0x9e3779b97f4a7c15>>58]
}

// heard notes the source address of a frame that is sent, and its VLAN.
func (v *Voices) heard(frame []byte) {
	if frame[12] == 0x81 && frame[13] == 0 {
		id := binary.BigEndian.Uint16(frame[14:]) & 0xfff
		if word := &v.vlans[id/64]; word.Load()>>(id%64)&1 == 0 {
			word.Or(1 << (id % 64))
		}
	}
	addr := source(frame)
	e := v.place(addr)
	age := v.age.Load()
	if e.addr.Load() == addr {
		if e.age.Load() != age {
			e.age.Store(age)
		}
		return
	}
	e.addr.Store(addr)
	e.age.Store(age)
	if v.hurry.Load() > 0 {
		v.hurry.Add(-1)
		unix.Write(v.wake, one) // a full counter is as good as a wake-up
	}
}

// one is what an eventfd counts as one.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// echoes reports whether a frame that has arrived is one that was sent from here: to a group,
// with one of the addresses.
func (v *Voices) echoes(frame []byte) bool {
	if frame[0]&1 == 0 {
		return false
	}
	addr := source(frame)
	e := v.place(addr)
	if e.addr.Load() != addr || v.age.Load()-e.age.Load() > 1 {
		return false
	}
	v.echoed.Add(1)
	return true
}

// Echoed is how many frames were taken out because they had been sent from here.
func (v *Voices) Echoed() uint64 { return v.echoed.Load() }

// Age makes addresses that were not sent from lately older, and VLANs.
func (v *Voices) Age() {
	v.age.Add(1)
	for i := range v.vlans {
		v.before[i] = v.vlans[i].Swap(0)
	}
	v.hurry.Store(wakes)
}

// All returns the addresses that were sent from lately, and that are no group's.
func (v *Voices) All(to [][6]byte) [][6]byte {
	age := v.age.Load()
	for i := range v.entries {
		e := &v.entries[i]
		addr := e.addr.Load()
		if addr == 0 || addr&1 != 0 || age-e.age.Load() > 1 {
			continue
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], addr)
		to = append(to, [6]byte(b[:6]))
	}
	return to
}

// VLANs returns those that frames were sent to lately, in order.
func (v *Voices) VLANs() (ids []uint16) {
	for i := range v.vlans {
		for word := v.vlans[i].Load() | v.before[i]; word != 0; word &= word - 1 {
			ids = append(ids, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return ids
}
