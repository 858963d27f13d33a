package tap

import (
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// wire is a queue of a device.
type wire struct {
	fd      int
	follows *follower // told of who sends; nil: no one has to know
}

const headerLen = virtionet.HeaderLen

// HeaderLen is netdev.Wire's.
func (w *wire) HeaderLen() int { return headerLen }

// FD is netdev.Wire's.
func (w *wire) FD() int { return w.fd }

// FurtherFD is netdev.Wire's.
func (w *wire) FurtherFD() int { return -1 }

// Read is netdev.Wire's.
func (w *wire) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	for total := 0; n < len(slots) && total < netdev.Lot; n++ {
		at := frames[n] - headerLen
		got, errno := netdev.Read(w.fd, at, headerLen+netdev.FrameRoom)
		if errno != 0 {
			return n, 0, errno
		}
		slots[n] = netdev.Slot{Header: at, Frame: frames[n], Len: uint32(max(0, got-headerLen))}
		total += got
	}
	return n, 0, 0
}

// Done is netdev.Wire's.
func (w *wire) Done() {}

// Write is netdev.Wire's.
func (w *wire) Write(slots []netdev.Slot) (n int, errno unix.Errno) {
	if w.follows != nil && len(slots) > 0 {
		w.follows.sends(wordOf([6]byte(slots[0].Bytes()[virtionet.AddressBytes/2:])))
	}
	for n < len(slots) {
		s := &slots[n]
		if _, errno := netdev.Write(w.fd, s.Header, headerLen+int(s.Len)); errno != 0 {
			return n, errno
		}
		n++
	}
	return n, 0
}
