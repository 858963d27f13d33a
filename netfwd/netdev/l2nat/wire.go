package l2nat

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// wire is a netdev.Wire of a card, with stations behind it.
type wire struct {
	netdev.Wire
	card atomic.Uint64 // its address, by control; 0: not known
	t    *translator
	now  func() time.Time

	counted counters
}

// begin brings the translator up to date.
func (w *wire) begin() {
	w.t.card = mac(w.card.Load())
	w.t.table.tick(w.now())
}

// reads is how often Read asks when nothing that came was for a station.
const reads = 4

// Read is netdev.Wire's. What is for no station is left out.
func (w *wire) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	for range reads {
		got, bad, e := w.Wire.Read(slots, frames)
		lost, errno = lost+bad, e
		if got == 0 {
			break
		}
		w.begin()
		for i := range got {
			if s := &slots[i]; w.admits(s) {
				slots[n] = *s
				n++
			}
		}
		w.counted.publish(w.t)
		if n > 0 || errno != 0 {
			break
		}
	}
	return n, lost, errno
}

// admits reports whether a frame goes in, and makes it ready for that. Those of impossible lengths
// do: the port counts them.
func (w *wire) admits(s *netdev.Slot) bool {
	if s.Len < virtionet.MinFrame || s.Len > virtionet.MaxFrame {
		return true
	}
	v := w.t.in(s.Bytes())
	w.counted.count(v)
	return v == pass
}

// Write is netdev.Wire's. A frame that must not leave is refused when it is the next.
func (w *wire) Write(slots []netdev.Slot) (n int, errno unix.Errno) {
	w.begin()
	refused := pass
	for n < len(slots) && refused == pass {
		s := &slots[n]
		if s.Ready { // by a Write that did not come to send it
			n++
			continue
		}
		if refused = w.t.out(s.Bytes(), undone(s)); refused == pass {
			s.Ready = true
			n++
		}
	}
	sent := 0
	if n > 0 {
		sent, errno = w.Wire.Write(slots[:n])
	}
	w.counted.publish(w.t)
	if sent < n || refused == pass {
		return sent, errno
	}
	w.counted.count(refused)
	if refused == spoofed {
		return sent, netdev.Spoofed
	}
	return sent, netdev.Filtered
}

// undone is where in a frame a checksum is that whoever sends it is to complete, or less than 0.
func undone(s *netdev.Slot) int {
	h := s.HeaderBytes()
	if h[0]&virtionet.FlagNeedsCsum == 0 {
		return -1
	}
	return int(binary.LittleEndian.Uint16(h[6:])) + int(binary.LittleEndian.Uint16(h[8:])) // csum_start, csum_offset
}
