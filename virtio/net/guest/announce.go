package guest

import (
	"encoding/binary"
	"fmt"
	"net"

	virtionet "vvufwd/virtio/net"
)

// Announcement is a frame that tells everybody behind the other port where a station is:
// a RARP request of that station for its own address, broadcast, 60 bytes long as the
// shortest Ethernet frame is. Bridges and switches learn from its source address.
type Announcement [60]byte

const (
	etherTypeRARP   = 0x8035
	arpEthernet     = 1
	etherTypeIPv4   = 0x0800
	rarpRequest     = 3 // reverse request (RFC 903)
	rarpSender      = 22
	rarpTarget      = 32
	protocolAddress = 4 // bytes of one, all zero here
)

// NewAnnouncement makes the announcement of a station. An address that no station can
// have is an error.
func NewAnnouncement(mac [6]byte) (*Announcement, error) {
	if mac[0]&1 != 0 || mac == [6]byte{} {
		return nil, fmt.Errorf("%v is not the address of a station", net.HardwareAddr(mac[:]))
	}
	a := &Announcement{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	copy(a[6:], mac[:])
	be := binary.BigEndian
	be.PutUint16(a[12:], etherTypeRARP)
	be.PutUint16(a[14:], arpEthernet)
	be.PutUint16(a[16:], etherTypeIPv4)
	a[18], a[19] = byte(len(mac)), protocolAddress
	be.PutUint16(a[20:], rarpRequest)
	copy(a[rarpSender:], mac[:])
	copy(a[rarpTarget:], mac[:])
	return a, nil
}

// announcer keeps a guest's announcement until it is received. It belongs to the
// goroutine that forwards.
type announcer struct {
	frame Announcement
	views [1][]byte
}

// announce lets the next rxFrames receive a, in place of one that has not been received
// yet. Nothing may be held.
func (g *Port) announce(a *Announcement) {
	if g.ours == nil {
		g.ours = &announcer{}
		g.ours.views[0] = g.ours.frame[:]
	}
	g.ours.frame = *a
	g.due = true
}

// rxAnnouncement is rxFrames while an announcement is due: it alone makes a burst, of no
// chain of the ring, so that it goes before what the guest sends next.
func (g *Port) rxAnnouncement(f *virtionet.Frame) int {
	g.due = false
	*f = virtionet.Frame{Data: g.ours.views[:], Len: len(g.ours.frame)}
	g.held, g.released = 1, 0
	g.taken, g.given, g.frameEnd[0], g.frameLen[0] = 0, 0, 0, f.Len
	return 1
}
